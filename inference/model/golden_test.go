package model_test

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"rbee/inference/device/cpu"
	"rbee/inference/gguf"
	"rbee/inference/model"
)

// A golden is what two other engines say of a small random model
// (testdata/NAME.json; testdata/README.md says how it was made).
type golden struct {
	MaxAbsDiff float64 `json:"max_abs_diff_exact_vs_llamacpp"`
	Context    *int    `json:"context"` // 0: the prompt's length
	Prompts    []struct {
		Tokens      []int32        `json:"tokens"`
		Greedy      []int32        `json:"greedy"`
		Top5        [][][2]float64 `json:"top5"`
		GreedyExact []int32        `json:"greedy_exact"`
		Top5Exact   [][][2]float64 `json:"top5_exact"`
		NLogits     int            `json:"n_logits"`
		LlamaCpp    *int           `json:"logits_llamacpp"`
		HF          *int           `json:"logits_hf"`
		Exact       *int           `json:"logits_exact"`
	} `json:"prompts"`
}

func load(t testing.TB, name string, threads int, o model.Options) *model.Model {
	t.Helper()
	f, err := gguf.Open("testdata/" + name + ".gguf")
	if err != nil {
		t.Fatal(err)
	}
	dev := cpu.Open(threads, "test")
	t.Cleanup(func() { dev.Close(); f.Close() })
	m, err := model.Load(t.Context(), f, dev, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func sequence(t testing.TB, m *model.Model) *model.Sequence {
	t.Helper()
	s, err := m.NewSequence()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// step feeds tokens and returns a copy of the last one's logits.
func step(t testing.TB, m *model.Model, s *model.Sequence, tokens ...int32) []float32 {
	t.Helper()
	out, err := m.Step(t.Context(), []model.Input{{Seq: s, Tokens: tokens, Logits: model.Last}})
	if err != nil {
		t.Fatal(err)
	}
	return slices.Clone(out[0])
}

func argmax(x []float32) int32 {
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return int32(best)
}

// tolerances are how far logits may be from the nearer reference: 0 stands for
// twice what the references differ by, and F32 has 5e-4.
var tolerances = map[string]float64{
	"llama-256-f16": 0.02, "llama-256-bf16": 0.2,
	"llama-256-q8_0": 0, "llama-256-q4_0": 0, "llama-256-q4_k_m": 0, "llama-256-q5_k_m": 0, "llama-256-q6_k": 0, "llama-256-iq4_xs": 0,
}

// Logits and greedy ids agree with llama.cpp, with transformers, or with the exact
// computation, whichever is nearest, within the tolerance of the type.
func TestGolden(t *testing.T) {
	for _, name := range decoders(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := readGolden(t, name)
			tolerance, ok := tolerances[name]
			if !ok {
				tolerance = 5e-4
			}
			if tolerance == 0 {
				tolerance = 2 * g.MaxAbsDiff
			}
			raw, err := os.ReadFile("testdata/" + name + ".logits.bin")
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range g.Prompts {
				context := 256
				if g.Context != nil { // what is computed depends on it
					context = cmp.Or(*g.Context, len(p.Tokens))
				}
				m := load(t, name, 2, model.Options{ContextLength: context})
				s := sequence(t, m)
				logits := step(t, m, s, p.Tokens...)
				nearest := math.Inf(1)
				for _, at := range []*int{p.LlamaCpp, p.HF, p.Exact} {
					if at != nil {
						nearest = min(nearest, distance(logits, raw[*at:][:4*p.NLogits]))
					}
				}
				if !(nearest <= tolerance) {
					t.Errorf("%d tokens: logits differ by %v, at most %v", len(p.Tokens), nearest, tolerance)
				}
				if p.Greedy != nil {
					follow(t, m, s, logits, [][]int32{p.Greedy, p.GreedyExact}, [][][][2]float64{p.Top5, p.Top5Exact}, tolerance)
				}
			}
		})
	}
}

func readGolden(t *testing.T, name string) (g golden) {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

func distance(got []float32, want []byte) (most float64) {
	for i, v := range got {
		most = max(most, math.Abs(float64(v)-float64(math.Float32frombits(binary.LittleEndian.Uint32(want[4*i:])))))
	}
	return most
}

// follow decodes greedily and compares with whichever reference goes along
// longest. A first difference is allowed where the other id is a near tie.
func follow(t *testing.T, m *model.Model, s *model.Sequence, logits []float32, refs [][]int32, tops [][][][2]float64, tolerance float64) {
	t.Helper()
	var got []int32
	for range refs[0] {
		got = append(got, argmax(logits))
		logits = step(t, m, s, got[len(got)-1])
	}
	var why []string
	for i, want := range refs {
		if want == nil {
			continue
		}
		n := 0
		for n < len(want) && want[n] == got[n] {
			n++
		}
		if n == len(want) || nearTie(tops[i][n], got[n], 2*tolerance) {
			return
		}
		b, _ := json.Marshal([]any{n, got[n], tops[i][n]})
		why = append(why, string(b))
	}
	t.Errorf("greedy ids differ from every reference (step, id, top five): %v", why)
}

func nearTie(top [][2]float64, id int32, within float64) bool {
	for _, c := range top {
		if int32(c[0]) == id && top[0][1]-c[1] <= within {
			return true
		}
	}
	return false
}
