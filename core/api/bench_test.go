package api

import (
	"errors"
	"strings"
	"testing"

	"rbee/core"
)

func TestTests(t *testing.T) {
	many := make([]int, 65)
	tests := map[string]struct {
		tests   Tests
		context int
		says    string // "": it is valid
	}{
		"both":          {Tests{Prompts: []int{512, 8}, Gens: []int{128}, Depths: []int{0, 1024}}, 1536, ""},
		"nothing":       {Tests{Prompts: []int{0}, Gens: []int{0}}, 0, "nothing to measure"},
		"below nothing": {Tests{Prompts: []int{-1}, Gens: []int{4}}, 4, "n_prompt: is -1"},
		"threads":       {Tests{Gens: []int{4}, Threads: []int{1, 2000}}, 4, "n_threads: is 2000, want 0 to 1024"},
		"repetitions":   {Tests{Gens: []int{4}, Repetitions: 5000}, 4, "n_repetition: is 5000"},
		"too many":      {Tests{Gens: []int{4}, Depths: many}, 4, "n_depth: want at most 64 numbers"},
	}
	for name, tt := range tests {
		err := tt.tests.Validate()
		if (err == nil) != (tt.says == "") || err != nil && (!errors.Is(err, core.Invalid) || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%s: got %v, want %q", name, err, tt.says)
		}
		if got := tt.tests.Context(); got != tt.context {
			t.Errorf("%s: a context of %d, want %d", name, got, tt.context)
		}
	}
}

// An error comes over the wire with its facts and its next step.
func TestBenchLineError(t *testing.T) {
	l := FailedBench(&core.Fault{Kind: core.ModelNotFound, What: "no", Try: "yes"})
	f, ok := errors.AsType[*core.Fault](l.Err())
	if !ok || f.Kind != core.ModelNotFound || f.What != "no" || f.Try != "yes" {
		t.Errorf("got %+v", l.Err())
	}
	if err := (BenchLine{}).Err(); err != nil {
		t.Errorf("no error: got %v", err)
	}
}

func TestShare(t *testing.T) {
	for v, want := range map[float64]string{0: "–", 0.004: "0.4 %", 0.094: "9.4 %", 0.5: "50 %", 1.26: "126 %"} {
		if got := Share(v); got != want {
			t.Errorf("%g: got %q, want %q", v, got, want)
		}
	}
	if Rate(0, 1) != "–" || Rate(1234.56, 1) != "1234.6" {
		t.Errorf("rates %q and %q", Rate(0, 1), Rate(1234.56, 1))
	}
}
