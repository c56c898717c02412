// Package sample picks the next token from logits.
//
// The choice depends on the logits, the parameters, the tokens so far and a
// number that is a function of (seed, position) alone, never of a generator's
// state: the same seed gives the same text whatever else the engine does, and an
// answer can go on from any position.
//
// The steps are those of llama.cpp's default chain, in its order; each sees what
// the one before it left over, with probabilities that add up to 1 again:
//
//  1. biases are added to the logits
//  2. penalties: repetition over the last Window tokens, prompt included; presence
//     and frequency over the answer alone, as OpenAI defines them (llama.cpp counts
//     them over the same window as repetition)
//  3. top-k
//  4. typical (Meister et al. 2022)
//  5. top-p
//  6. min-p
//  7. temperature
//  8. the draw
//
// Truncation therefore looks at the model's own probabilities, and the temperature
// changes only the odds among what is left. At temperature 0 the token with the
// highest logit after step 2 is taken.
//
// Log-probabilities (Probe) are of the model's distribution before step 1, as
// llama.cpp's server and OpenAI give them.
//
// Nothing sorts a whole vocabulary: candidates lie in a heap, and only as many are
// taken from it as the choice needs.
package sample

import (
	"errors"
	"math"
)

// ErrLogits says that the logits hold no usable number.
var ErrLogits = errors.New("sample: the model gave no usable logits (NaN)")

// Params say how to choose. The zero value is greedy: the highest logit, and of
// equal ones the lowest id.
type Params struct {
	Temperature float64 // 0: greedy
	TopK        int     // of the most likely K tokens; 0: all
	Typical     float64 // of tokens whose information is nearest to the expected, P together; 0 or 1: all
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

// A Sampler chooses tokens for one answer. It belongs to one goroutine. It
// allocates nothing once it has seen a vocabulary.
type Sampler struct {
	p     Params
	count map[int32]int
	work  []float32 // logits with biases and penalties
	rest  heap      // candidates, not yet in order
	kept  []candidate
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
	best := highest(logits)
	if best < 0 || math.IsInf(float64(logits[best]), -1) {
		return 0, ErrLogits
	}
	if s.p.Temperature <= 0 || s.p.TopK == 1 || math.IsInf(float64(logits[best]), 1) {
		return int32(best), nil
	}
	s.collect(logits, logits[best])
	s.typical()
	s.topP()
	s.minP()
	return s.draw(uniform(s.p.Seed, uint64(position))), nil
}

// highest is the index of the highest logit, of equal ones the first; -1 when
// there is no number at all.
func highest(logits []float32) int {
	best, top := -1, float32(math.Inf(-1))
	for i, v := range logits {
		if v > top {
			best, top = i, v
		}
	}
	if best < 0 {
		for i, v := range logits {
			if v == v { // all that are numbers are -Inf
				return i
			}
		}
	}
	return best
}

// adjust applies biases and penalties to a copy, if there are any.
func (s *Sampler) adjust(logits []float32, history []int32, answered int) []float32 {
	repeats := s.p.Repetition > 0 && s.p.Repetition != 1
	counts := s.p.Presence != 0 || s.p.Frequency != 0
	if !repeats && !counts && len(s.p.Bias) == 0 {
		return logits
	}
	s.work = append(s.work[:0], logits...)
	for id, b := range s.p.Bias {
		if id >= 0 && int(id) < len(s.work) {
			s.work[id] += float32(b)
		}
	}
	if repeats {
		s.repetition(history[max(0, len(history)-s.p.Window):])
	}
	if counts {
		s.tally(history[max(0, len(history)-answered):])
		for id, n := range s.count {
			s.work[id] -= float32(s.p.Presence + float64(n)*s.p.Frequency)
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
