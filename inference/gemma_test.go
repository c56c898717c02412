package inference_test

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"slices"
	"sync"
	"testing"

	"rbee/inference"
)

// gemma is the path of the real Gemma 3 270M, which make test fetches.
func gemma(t *testing.T) string {
	t.Helper()
	path := os.Getenv("RBEE_GEMMA")
	switch {
	case path == "none": // the race detector would take minutes
		t.Skip("RBEE_GEMMA is none")
	case path != "":
	case os.Getenv("RBEE_TEST_ALL") == "1":
		t.Fatal("RBEE_GEMMA names no file: make test sets it to what .ci/gemma fetches")
	default:
		t.Skip("RBEE_GEMMA names no file: make test sets it to what .ci/gemma fetches")
	}
	return path
}

func readJSON(t *testing.T, name string, to any) {
	t.Helper()
	b, err := os.ReadFile("testdata/gemma3-270m/" + name)
	if err == nil {
		err = json.Unmarshal(b, to)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A continuation is the greedy one of an engine, and its five best of each step.
type continuation struct {
	greedy []int32
	top5   [][][2]float64
}

// The real model continues the prompts as llama.cpp does, with quantised kernels
// or with the weights expanded, but for near ties.
func TestGemmaContinues(t *testing.T) {
	var g struct {
		Prompts []struct {
			Text        string         `json:"text"`
			Tokens      []int32        `json:"tokens"`
			Greedy      []int32        `json:"greedy"`
			Top5        [][][2]float64 `json:"top5"`
			GreedyExact []int32        `json:"greedy_exact"`
			Top5Exact   [][][2]float64 `json:"top5_exact"`
		} `json:"prompts"`
	}
	readJSON(t, "prompts.json", &g)
	e, err := inference.Open(t.Context(), gemma(t), inference.Options{ContextLength: 256, Threads: 2}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var loop sync.WaitGroup
	loop.Go(func() { _ = e.Run(ctx) })
	defer func() { cancel(); loop.Wait(); e.Close() }()
	for _, p := range g.Prompts {
		if p.Text != "" { // else it was a conversation
			prompt, err := e.Prepare(inference.Request{Prompt: p.Text, Raw: true})
			if err != nil || !slices.Equal(prompt.Tokens, p.Tokens) {
				t.Errorf("%q: tokens %v, want %v (%v)", p.Text, prompt.Tokens, p.Tokens, err)
			}
		}
		var got []int32
		for ev, err := range e.Generate(ctx, inference.Request{Tokens: p.Tokens, MaxTokens: len(p.Greedy), IgnoreEOG: true}) {
			if err != nil {
				t.Fatal(err)
			}
			if ev.Token != nil {
				got = append(got, ev.Token.ID)
			}
		}
		if !agrees(got, continuation{p.Greedy, p.Top5}) && !agrees(got, continuation{p.GreedyExact, p.Top5Exact}) {
			t.Errorf("%q goes on with %v, want %v", p.Text, got, p.Greedy)
		}
	}
}

// agrees tells whether ids are the continuation up to a near tie, behind which the
// paths part. Near is twice 0.5: where the model sees nothing likely, the rounding
// of activations moves the logits of either engine by 0.3 (standard deviation from
// the exact ones).
func agrees(got []int32, want continuation) bool {
	const near = 1.0
	if len(got) != len(want.greedy) {
		return false
	}
	for i, id := range got {
		if id == want.greedy[i] {
			continue
		}
		for _, c := range want.top5[i] {
			if int32(c[0]) == id && want.top5[i][0][1]-c[1] <= near {
				return true
			}
		}
		return false
	}
	return true
}

// The real model's perplexity is llama.cpp's.
func TestGemmaPerplexity(t *testing.T) {
	var g struct {
		NLL       float64 `json:"mean_nll"`
		NLLExact  float64 `json:"mean_nll_exact"`
		C512      float64 `json:"c512"`
		C512Exact float64 `json:"c512_exact"`
	}
	readJSON(t, "perplexity.json", &g)
	text, err := os.ReadFile("testdata/gemma3-270m/text.txt")
	if err != nil {
		t.Fatal(err)
	}
	e, err := inference.Open(t.Context(), gemma(t), inference.Options{ContextLength: 2048, Threads: 2}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	p, err := e.Perplexity(t.Context(), string(text), 0)
	if err != nil {
		t.Fatal(err)
	}
	if nll := math.Log(p.Value); nll < min(g.NLL, g.NLLExact)-0.02 || nll > max(g.NLL, g.NLLExact)+0.02 {
		t.Errorf("mean negative log-likelihood %v, llama.cpp has %v, exact arithmetic %v", nll, g.NLL, g.NLLExact)
	}
	if p, err = e.Perplexity(t.Context(), string(text), 512); err != nil {
		t.Fatal(err)
	}
	if p.Value < 0.985*min(g.C512, g.C512Exact) || p.Value > 1.015*max(g.C512, g.C512Exact) {
		t.Errorf("perplexity in windows of 512: %v, llama.cpp has %v", p.Value, g.C512)
	}
}

// The real model agrees with the reference engine, layer by layer.
func TestGemmaVerifies(t *testing.T) {
	for c, err := range inference.Verify(t.Context(), gemma(t), inference.Options{Threads: 2}, verifyText) {
		if err != nil {
			t.Fatal(err)
		}
		if !c.OK() {
			t.Errorf("%s disagrees: %+v", c.Part, c)
		}
	}
}
