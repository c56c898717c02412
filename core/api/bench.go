package api

import (
	"fmt"
	"slices"
	"strconv"

	"rbee/core"
)

// Tests are what a measurement consists of: each prompt and each generation at each
// depth, with each number of threads.
type Tests struct {
	Prompts     []int `json:"n_prompt"`     // tokens read at once; 0: none
	Gens        []int `json:"n_gen"`        // tokens made one by one; 0: none
	Depths      []int `json:"n_depth"`      // tokens in the cache before either; empty: 0
	Threads     []int `json:"n_threads"`    // 0: as many as there are cores; empty: 0
	Repetitions int   `json:"n_repetition"` // 0: 5
}

// Bounds of a measurement: what lies above them can only be a mistake.
const (
	maxTests       = 64
	maxRepetitions = 1000
)

// Validate returns a fault that lists every field that breaks a rule, or nil.
func (t *Tests) Validate() error {
	var v checks
	for _, f := range []struct {
		name string
		list []int
		most int
	}{
		{"n_prompt", t.Prompts, maxContext},
		{"n_gen", t.Gens, maxContext},
		{"n_depth", t.Depths, maxContext},
		{"n_threads", t.Threads, maxThreads},
		{"n_repetition", []int{t.Repetitions}, maxRepetitions},
	} {
		if len(f.list) > maxTests {
			v.add(f.name, "length", fmt.Sprintf("want at most %d numbers", maxTests))
		}
		for _, n := range f.list {
			if n < 0 || n > f.most {
				v.add(f.name, "range", fmt.Sprintf("is %d, want 0 to %d", n, f.most))
				break
			}
		}
	}
	if t.None() {
		v.add("n_prompt", "required", "nothing to measure: n_prompt and n_gen are 0")
	}
	return v.fault()
}

// None tells whether there is nothing to measure.
func (t *Tests) None() bool {
	some := func(n int) bool { return n > 0 }
	return !slices.ContainsFunc(t.Prompts, some) && !slices.ContainsFunc(t.Gens, some)
}

// Context is how many tokens of context the tests take.
func (t *Tests) Context() int {
	most := func(lists ...[]int) (n int) {
		for _, x := range slices.Concat(lists...) {
			n = max(n, x)
		}
		return n
	}
	return most(t.Depths) + most(t.Prompts, t.Gens)
}

// BenchRequest is the body of POST hive/v1/bench: a model of the hive is measured by
// a process of its own. The answer is lines of BenchLine.
type BenchRequest struct {
	Tests

	ModelRef core.ModelRef `json:"model_ref"`
	LeaseID  string        `json:"lease_id,omitempty"` // whose end ends the measurement
}

// PoolBenchRequest is the body of POST queen/v2/bench: a model is measured where it
// would run, on one node, or on all of them at once. The answer is lines of BenchLine.
type PoolBenchRequest struct {
	Tests

	Model    core.ModelRef `json:"model"`
	Node     core.NodeName `json:"node,omitempty"`
	AllNodes bool          `json:"all_nodes,omitempty"`
}

// BenchLine is one line of a measurement: what is being done, a result, or why there
// is none.
type BenchLine struct {
	Node      core.NodeName `json:"node,omitempty"` // filled in by the queen
	Narration *Narration    `json:"narration,omitempty"`
	Row       *BenchRow     `json:"row,omitempty"`
	Error     *ErrorBody    `json:"error,omitempty"`
}

// FailedBench is the line of an error.
func FailedBench(err error) BenchLine {
	e := NewEnvelope(core.Public(err), "").Error
	return BenchLine{Error: &e}
}

// Err is the error of a line, nil if there is none.
func (l BenchLine) Err() error {
	if l.Error == nil {
		return nil
	}
	return l.Error.Details.fault(l.Error.Code, l.Error.Message)
}

// BenchRow is the result of one test, in llama-bench's names. Beside each rate stand
// what the machine can do at most, measured before and after with the same threads,
// and the part of it that was reached: 0 where that says nothing.
type BenchRow struct {
	File        string    `json:"model_filename"`
	Type        string    `json:"model_type"`
	Params      int64     `json:"n_params"`
	Size        int64     `json:"model_size"`
	Prompt      int       `json:"n_prompt"`
	Gen         int       `json:"n_gen"`
	Depth       int       `json:"n_depth"`
	Threads     int       `json:"n_threads"`
	Backend     string    `json:"backend"`
	Mean        float64   `json:"avg_ts"`
	Stddev      float64   `json:"stddev_ts"`
	Samples     []float64 `json:"samples_ts"`
	GBps        float64   `json:"gb_per_s"` // of weights read; 0 when many tokens share a reading
	ReadGBps    float64   `json:"read_gb_per_s"`
	ReadShare   float64   `json:"read_share"`
	GOPS        float64   `json:"gops"` // of a prompt: two operations for each weight and token; 0 for a generation
	Int8GOPS    float64   `json:"int8_gops"`
	Int8Share   float64   `json:"int8_share"`
	CPU         string    `json:"cpu"`
	KernelClass string    `json:"kernel_class"`
	KernelPath  string    `json:"kernel_path"` // avx512vnni, avx2, neon-dotprod, neon, or generic
}

// Test is what llama-bench calls the test: pp512, tg128 @ d4096.
func (r *BenchRow) Test() string {
	s := fmt.Sprintf("pp%d", r.Prompt)
	if r.Prompt == 0 {
		s = fmt.Sprintf("tg%d", r.Gen)
	}
	if r.Depth > 0 {
		s += fmt.Sprintf(" @ d%d", r.Depth)
	}
	return s
}

// Rate is a rate for people to read, – where there is none.
func Rate(v float64, digits int) string {
	if v <= 0 {
		return "–"
	}
	return strconv.FormatFloat(v, 'f', digits, 64)
}

// Share is a part of one for people to read, – where it says nothing.
func Share(v float64) string {
	if v <= 0 {
		return "–"
	}
	if v < 0.1 {
		return fmt.Sprintf("%.1f %%", 100*v)
	}
	return fmt.Sprintf("%.0f %%", 100*v)
}
