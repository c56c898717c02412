// Package sample picks the next token from logits.
//
// The choice depends on the logits, the parameters, the tokens so far and a
// number that is a function of (seed, position) alone, never of a generator's
// state: the same seed gives the same text whatever else the engine does, and an
// answer can go on from any position.
package sample

import (
	"cmp"
	"errors"
	"math"
	"slices"
)

// ErrLogits says that the logits hold no usable number.
var ErrLogits = errors.New("sample: the model gave no usable logits (NaN)")

// Params say how to choose. The zero value is greedy: the highest logit, and of
// equal ones the lowest id.
type Params struct {
	Temperature float64 // 0: greedy
	TopK        int     // of the most likely K tokens; 0: all
	TopP        float64 // of the most likely tokens that make up P together; 0 or 1: all
	MinP        float64 // of tokens at least MinP times as likely as the best; 0: all

	Repetition float64 // divides positive and multiplies negative logits of tokens seen; 0 or 1: off
	Presence   float64 // taken away once from tokens of the answer
	Frequency  float64 // taken away for each time a token is in the answer
	Window     int     // how many last tokens Repetition looks at; 0: 64
	Bias       map[int32]float64
	Seed       uint64
}

const defaultWindow = 64

type candidate struct {
	id int32
	p  float64 // a logit, then a probability
}

// A Sampler chooses tokens for one answer. It belongs to one goroutine.
type Sampler struct {
	p     Params
	cands []candidate
	count map[int32]int
	work  []float32
}

// New returns a sampler. Parameters out of range count as their nearest bound.
func New(p Params) *Sampler {
	if p.Window <= 0 {
		p.Window = defaultWindow
	}
	return &Sampler{p: p, count: map[int32]int{}}
}

// Next returns the token at a position of the answer. history is the prompt and
// the answer so far, of which the last answered tokens are the answer.
func (s *Sampler) Next(logits []float32, position int, history []int32, answered int) (int32, error) {
	logits = s.adjust(logits, history, answered)
	best := -1
	for i, v := range logits {
		if v == v && (best < 0 || v > logits[best]) { // not NaN
			best = i
		}
	}
	if best < 0 || math.IsInf(float64(logits[best]), -1) {
		return 0, ErrLogits
	}
	if s.p.Temperature <= 0 || s.p.TopK == 1 || math.IsInf(float64(logits[best]), 1) {
		return int32(best), nil
	}
	s.collect(logits, float64(logits[best]))
	s.cut()
	return s.pick(uniform(s.p.Seed, uint64(position))), nil
}

// adjust applies penalties and biases to a copy, if there are any.
func (s *Sampler) adjust(logits []float32, history []int32, answered int) []float32 {
	repeats := s.p.Repetition > 0 && s.p.Repetition != 1
	counts := s.p.Presence != 0 || s.p.Frequency != 0
	if !repeats && !counts && len(s.p.Bias) == 0 {
		return logits
	}
	s.work = append(s.work[:0], logits...)
	if repeats {
		s.repetition(history[max(0, len(history)-s.p.Window):])
	}
	if counts {
		s.tally(history[max(0, len(history)-answered):])
		for id, n := range s.count {
			s.work[id] -= float32(s.p.Presence + float64(n)*s.p.Frequency)
		}
	}
	for id, b := range s.p.Bias {
		if id >= 0 && int(id) < len(s.work) {
			s.work[id] += float32(b)
		}
	}
	return s.work
}

// repetition makes each token that was seen less likely, once.
func (s *Sampler) repetition(seen []int32) {
	s.tally(seen)
	by := float32(s.p.Repetition)
	for id := range s.count {
		if v := s.work[id]; v > 0 {
			s.work[id] = v / by
		} else {
			s.work[id] = v * by
		}
	}
}

func (s *Sampler) tally(tokens []int32) {
	clear(s.count)
	for _, id := range tokens {
		if id >= 0 && int(id) < len(s.work) {
			s.count[id]++
		}
	}
}

// negligible is e^−x below which a token cannot be chosen in practice: it is not
// even listed.
const negligible = 40

// collect lists the tokens that may be chosen with their probabilities, not
// normalised, the likeliest first, equal ones by id.
func (s *Sampler) collect(logits []float32, top float64) {
	s.cands = s.cands[:0]
	floor := -float64(negligible)
	if s.p.MinP > 0 {
		floor = max(floor, math.Log(min(s.p.MinP, 1)))
	}
	for i, v := range logits {
		// The temperature comes last, as in llama.cpp: min-p looks at the
		// model's own probabilities.
		if x := float64(v) - top; x >= floor*max(1, s.p.Temperature) && (s.p.MinP <= 0 || x >= floor) {
			s.cands = append(s.cands, candidate{int32(i), math.Exp(x)})
		}
	}
	slices.SortFunc(s.cands, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.p, a.p), cmp.Compare(a.id, b.id))
	})
}

// cut applies top-k and top-p, then the temperature.
func (s *Sampler) cut() {
	if s.p.TopK > 0 && len(s.cands) > s.p.TopK {
		s.cands = s.cands[:s.p.TopK]
	}
	if s.p.TopP > 0 && s.p.TopP < 1 {
		var sum, kept float64
		for _, c := range s.cands {
			sum += c.p
		}
		for i, c := range s.cands {
			if kept += c.p; kept >= s.p.TopP*sum {
				s.cands = s.cands[:i+1]
				break
			}
		}
	}
	for i := range s.cands {
		s.cands[i].p = math.Pow(s.cands[i].p, 1/s.p.Temperature)
	}
}

// pick returns the candidate at u, from 0 to 1, of the summed probabilities.
func (s *Sampler) pick(u float64) int32 {
	var sum float64
	for _, c := range s.cands {
		sum += c.p
	}
	for _, c := range s.cands {
		if u -= c.p / sum; u < 0 {
			return c.id
		}
	}
	return s.cands[0].id // rounding: u was as good as 1
}

// uniform returns a number in [0, 1) that seed and position alone determine: two
// rounds of SplitMix64's finaliser (Steele, Lea and Flood 2014), keyed by the seed.
func uniform(seed, position uint64) float64 {
	x := mix(mix(seed+0x9e3779b97f4a7c15) + (position+1)*0x9e3779b97f4a7c15)
	return float64(x>>11) * 0x1p-53
}

func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
