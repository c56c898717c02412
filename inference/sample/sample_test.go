package sample

import (
	"errors"
	"math"
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
