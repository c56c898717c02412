package sample

import (
	"errors"
	"math"
	"sort"
	"testing"
)

var nan = float32(math.NaN())

// golden is the first number of seed 42.
const golden = 0.34329192209867343

func next(t *testing.T, p Params, logits []float32, position int, history ...int32) int32 {
	t.Helper()
	id, err := New(p).Next(logits, position, history, len(history))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestGreedy(t *testing.T) {
	logits := []float32{1, 3, nan, 3, -1}
	if got := next(t, Params{}, logits, 0); got != 1 {
		t.Errorf("greedy: got %d, want the lower of two equal ids, 1", got)
	}
	if got := next(t, Params{Repetition: 2}, logits, 0, 1); got != 3 {
		t.Errorf("repetition penalty: got %d, want 3", got)
	}
	if got := next(t, Params{Frequency: 1}, logits, 0, 1, 1, 3); got != 3 {
		t.Errorf("frequency penalty: got %d, want 3", got)
	}
	if got := next(t, Params{Bias: map[int32]float64{4: 10, 99: 1}}, logits, 0); got != 4 {
		t.Errorf("bias: got %d, want 4", got)
	}
	if logits[1] != 3 {
		t.Error("the caller's logits were changed")
	}
	for _, bad := range [][]float32{{nan, nan}, {}, {float32(math.Inf(-1))}} {
		if _, err := New(Params{}).Next(bad, 0, nil, 0); !errors.Is(err, ErrLogits) {
			t.Errorf("%v: got %v, want %v", bad, err, ErrLogits)
		}
	}
	if got := next(t, Params{Temperature: 1}, []float32{0, float32(math.Inf(1))}, 0); got != 1 {
		t.Errorf("infinity: got %d", got)
	}
}

// The frequencies of many positions are the probabilities.
func TestDistribution(t *testing.T) {
	logits := []float32{float32(math.Log(0.5)), float32(math.Log(0.3)), float32(math.Log(0.15)), float32(math.Log(0.05))}
	tests := map[string]struct {
		p    Params
		want [4]float64
	}{
		"plain":       {Params{Temperature: 1}, [4]float64{0.5, 0.3, 0.15, 0.05}},
		"top-k":       {Params{Temperature: 1, TopK: 2}, [4]float64{0.625, 0.375, 0, 0}},
		"top-p":       {Params{Temperature: 1, TopP: 0.75}, [4]float64{0.625, 0.375, 0, 0}},
		"min-p":       {Params{Temperature: 1, MinP: 0.2}, [4]float64{0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 0}},
		"temperature": {Params{Temperature: 0.5, TopK: 2}, [4]float64{0.25 / 0.34, 0.09 / 0.34, 0, 0}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			const n = 20000
			var got [4]float64
			s := New(tt.p)
			for i := range n {
				id, err := s.Next(logits, i, nil, 0)
				if err != nil {
					t.Fatal(err)
				}
				got[id] += 1.0 / n
			}
			for i := range got {
				if math.Abs(got[i]-tt.want[i]) > 0.015 {
					t.Errorf("got %.3f, want %.3f", got, tt.want)
					break
				}
			}
		})
	}
}

// A position's choice does not depend on what was chosen before it, and the
// numbers are those of the first version: a seed keeps its text.
func TestSeedAndPosition(t *testing.T) {
	logits := make([]float32, 50)
	p := Params{Temperature: 1, Seed: 42}
	s := New(p)
	var run []int32
	for i := range 8 {
		id, _ := s.Next(logits, i, nil, 0)
		run = append(run, id)
	}
	for i := 7; i >= 0; i-- {
		if got := next(t, p, logits, i); got != run[i] {
			t.Errorf("position %d alone: got %d, in a run %d", i, got, run[i])
		}
	}
	if u := uniform(42, 0); math.Abs(u-golden) > 1e-15 {
		t.Errorf("uniform(42, 0) = %.17g, want %.17g", u, golden)
	}
	p.Seed = 43
	same := 0
	for i := range run {
		if next(t, p, logits, i) == run[i] {
			same++
		}
	}
	if same == len(run) {
		t.Error("another seed gives the same text")
	}
}

func TestNextAllocatesNothing(t *testing.T) {
	logits := make([]float32, 1000)
	s := New(Params{Temperature: 0.7, TopP: 0.9, Repetition: 1.1})
	history := []int32{1, 2, 3}
	run := func() { _, _ = s.Next(logits, 1, history, 2) }
	run()
	if n := testing.AllocsPerRun(20, run); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// chain is the specification: llama.cpp's default chain, written down with sorts.
func chain(p Params, logits []float32) map[int32]float64 {
	type tok struct {
		id int32
		x  float64
	}
	var l []tok
	for i, v := range logits {
		l = append(l, tok{int32(i), float64(v)})
	}
	sortBy := func(less func(a, b tok) bool) {
		sort.SliceStable(l, func(i, j int) bool { return less(l[i], l[j]) })
	}
	byLogit := func(a, b tok) bool { return a.x > b.x }
	probs := func(t float64) (p []float64) {
		top, sum := math.Inf(-1), 0.0
		for _, c := range l {
			top = max(top, c.x)
		}
		for _, c := range l {
			p = append(p, math.Exp((c.x-top)/t))
			sum += p[len(p)-1]
		}
		for i := range p {
			p[i] /= sum
		}
		return p
	}
	sortBy(byLogit)
	if p.TopK > 0 && p.TopK < len(l) {
		l = l[:p.TopK]
	}
	cut := func(p float64, strict bool) {
		kept := 0.0
		for i, q := range probs(1) {
			if kept += q; kept > p || !strict && kept >= p {
				l = l[:i+1]
				return
			}
		}
	}
	if p.Typical > 0 && p.Typical < 1 {
		h := 0.0
		off := map[int32]float64{}
		for _, q := range probs(1) {
			h -= q * math.Log(q)
		}
		for i, q := range probs(1) {
			off[l[i].id] = math.Abs(-math.Log(q) - h)
		}
		sortBy(func(a, b tok) bool { return off[a.id] < off[b.id] })
		cut(p.Typical, true)
		sortBy(byLogit)
	}
	if p.TopP > 0 && p.TopP < 1 {
		cut(p.TopP, false)
	}
	if p.MinP > 0 {
		n := 0
		for n < len(l) && l[n].x >= l[0].x+math.Log(p.MinP) {
			n++
		}
		l = l[:n]
	}
	out := map[int32]float64{}
	for i, q := range probs(p.Temperature) {
		out[l[i].id] = q
	}
	return out
}

// The frequencies of many draws are what the chain says, whatever is combined.
func TestChain(t *testing.T) {
	logits := make([]float32, 40)
	for i := range logits {
		logits[i] = float32(3 * math.Sin(float64(i*i)))
	}
	for _, p := range []Params{
		{Temperature: 1},
		{Temperature: 1.7, TopK: 9},
		{Temperature: 0.8, Typical: 0.7},
		{Temperature: 0.8, TopP: 0.8, MinP: 0.3},
		{Temperature: 1.3, TopP: 0.95, MinP: 0.1},
		{Temperature: 0.5, TopK: 20, Typical: 0.9, TopP: 0.9, MinP: 0.05},
		{Temperature: 2, TopK: 3, Typical: 0.2},
		{Temperature: 1, MinP: 0.5},
	} {
		want := chain(p, logits)
		const n = 20000
		got := map[int32]float64{}
		s := New(p)
		for i := range n {
			id, err := s.Next(logits, i, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			got[id] += 1.0 / n
		}
		for id := range int32(len(logits)) {
			if math.Abs(got[id]-want[id]) > 0.015 || want[id] == 0 && got[id] > 0 {
				t.Errorf("%+v: token %d has %.3f, want %.3f", p, id, got[id], want[id])
			}
		}
	}
}

// Biases come before penalties: a bias can make a logit positive that is then divided.
func TestBiasBeforePenalty(t *testing.T) {
	p := Params{Repetition: 2, Bias: map[int32]float64{0: 4}}
	if got := next(t, p, []float32{-1, 1.4}, 0, 0); got != 0 { // (−1+4)/2 = 1.5
		t.Errorf("got %d, want 0", got)
	}
}

func TestProbe(t *testing.T) {
	logits := []float32{float32(math.Log(0.2)), nan, float32(math.Log(0.5)), float32(math.Log(0.2)), float32(math.Log(0.1)), float32(math.Inf(-1))}
	lp, top := Probe(nil, logits, 4, 3)
	if math.Abs(lp-math.Log(0.1)) > 1e-6 {
		t.Errorf("log-probability %g, want %g", lp, math.Log(0.1))
	}
	want := []Ranked{{2, math.Log(0.5)}, {0, math.Log(0.2)}, {3, math.Log(0.2)}}
	for i, w := range want {
		if len(top) != 3 || top[i].ID != w.ID || math.Abs(top[i].Value-w.Value) > 1e-6 {
			t.Fatalf("got %v, want %v", top, want)
		}
	}
	if lp, _ := Probe(nil, logits, 5, 0); !math.IsInf(lp, -1) {
		t.Errorf("a token that cannot be: %g", lp)
	}
	if lp, top := Probe(nil, []float32{nan}, 0, 3); !math.IsInf(lp, -1) || len(top) != 0 {
		t.Errorf("no number at all: %g, %v", lp, top)
	}
}

// vocabulary is logits like a model's: most far below the best.
func vocabulary(n int) []float32 {
	logits := make([]float32, n)
	for i := range logits {
		for seed := range uint64(4) {
			logits[i] += float32(8*uniform(seed, uint64(i)) - 4)
		}
		if i%9999 == 0 {
			logits[i] = float32(12 + 8*uniform(5, uint64(i)))
		}
	}
	return logits
}

func TestLargeVocabularyAllocatesNothing(t *testing.T) {
	logits := vocabulary(50000)
	var top []Ranked
	for name, p := range map[string]Params{
		"plain": {Temperature: 1}, "top-k": {Temperature: 1, TopK: 40}, "top-p": {Temperature: 1, TopP: 0.9},
		"all": {Temperature: 0.7, TopK: 100, Typical: 0.9, TopP: 0.9, MinP: 0.05, Repetition: 1.1, Presence: 0.5, Bias: map[int32]float64{3: 1}},
	} {
		s := New(p)
		run := func() {
			id, _ := s.Next(logits, 1, []int32{1, 2, 3}, 2)
			_, top = Probe(top[:0], logits, id, 20)
		}
		run()
		if n := testing.AllocsPerRun(5, run); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	logits := vocabulary(262144)
	for name, p := range map[string]Params{
		"greedy": {}, "plain": {Temperature: 1}, "top-k": {Temperature: 1, TopK: 40}, "top-p": {Temperature: 1, TopP: 0.95},
		"min-p": {Temperature: 1, MinP: 0.05}, "typical": {Temperature: 1, Typical: 0.9},
	} {
		b.Run(name, func(b *testing.B) {
			s := New(p)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := s.Next(logits, i, nil, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkProbe(b *testing.B) {
	logits := vocabulary(262144)
	var top []Ranked
	b.ReportAllocs()
	for b.Loop() {
		_, top = Probe(top[:0], logits, 7, 20)
	}
}
