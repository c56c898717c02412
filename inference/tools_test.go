package inference

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rbee/inference/model"
)

func open(t *testing.T, path string, o Options) *Engine {
	t.Helper()
	e, err := Open(t.Context(), path, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return e
}

func TestBench(t *testing.T) {
	e := open(t, "model/testdata/llama.gguf", Options{ContextLength: 128, Threads: 1})
	for _, tt := range []BenchTest{{Prompt: 20}, {Gen: 5}, {Gen: 5, Depth: 100}, {Prompt: 28, Depth: 100}} {
		r, err := e.Bench(t.Context(), tt, 3)
		if err != nil || len(r.Samples) != 3 || r.Mean <= 0 || (r.GBps > 0) != (tt.Gen > 0) {
			t.Errorf("%+v: %+v, %v", tt, r, err)
		}
	}
	if _, err := e.Bench(t.Context(), BenchTest{Prompt: 100, Depth: 100}, 1); err == nil {
		t.Error("more than the context holds was measured")
	}
	if _, err := e.Bench(t.Context(), BenchTest{Depth: 3}, 1); !errors.Is(err, ErrBadRequest) {
		t.Errorf("nothing to measure: %v", err)
	}
	m := e.BenchModel()
	if m.Parameters <= 0 || m.Bytes <= 0 || !strings.HasPrefix(m.Name, "llama ") {
		t.Errorf("model: %+v", m)
	}
}

func TestMeanStddev(t *testing.T) {
	if m, s := meanStddev([]float64{1, 2, 3, 4}); m != 2.5 || math.Abs(s-1.2909944) > 1e-6 {
		t.Errorf("got %g ± %g", m, s)
	}
	if m, s := meanStddev([]float64{7}); m != 7 || s != 0 {
		t.Errorf("of one sample: %g ± %g", m, s)
	}
}

// What is scored is what the model says when it is asked token by token.
func TestPerplexity(t *testing.T) {
	e := open(t, "model/testdata/llama.gguf", Options{Threads: 1, ContextLength: 256})
	text := strings.Repeat("The hive keeps the workers warm. ", 6)
	tokens := e.Tokenize(text, EncodeOptions{AddSpecial: true})
	score := func(tokens []int32, first int) (nll float64) {
		seq, err := e.model.NewSequence()
		if err != nil {
			t.Fatal(err)
		}
		defer seq.Close()
		for i := range tokens[1:] {
			logits, err := e.model.Step(t.Context(), []model.Input{{Seq: seq, Tokens: tokens[i : i+1], Logits: model.All}})
			if err != nil {
				t.Fatal(err)
			}
			sum := 0.0
			for _, v := range logits[0] {
				sum += math.Exp(float64(v))
			}
			if i >= first {
				nll += math.Log(sum) - float64(logits[0][tokens[i+1]])
			}
		}
		return nll
	}
	p, err := e.Perplexity(t.Context(), text, 0)
	if want := score(tokens, 0) / float64(len(tokens)-1); err != nil || math.Abs(p.MeanNLL-want) > 1e-6 || p.Tokens != len(tokens)-1 || math.Abs(p.Value-math.Exp(want)) > 1e-3 {
		t.Errorf("one window: %+v, %v; want %g", p, err, want)
	}
	want, bos := 0.0, tokens[0]
	for at := 0; at+20 <= len(tokens); at += 20 {
		w := append([]int32{bos}, tokens[at+1:at+20]...)
		want += score(w, 10)
	}
	n := len(tokens) / 20
	if p, err = e.Perplexity(t.Context(), text, 20); err != nil || math.Abs(p.MeanNLL-want/float64(9*n)) > 1e-6 || p.Windows != n || p.Tokens != 9*n {
		t.Errorf("windows: %+v, %v; want %g of %d", p, err, want/float64(9*n), n)
	}
	for name, f := range map[string]func() (Perplexity, error){
		"a text too short": func() (Perplexity, error) { return e.Perplexity(t.Context(), "x", 50) },
		"no text":          func() (Perplexity, error) { return e.Perplexity(t.Context(), "", 0) },
		"a window of 1":    func() (Perplexity, error) { return e.Perplexity(t.Context(), text, 1) },
	} {
		if p, err := f(); !errors.Is(err, ErrBadRequest) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}

// Every type's golden blocks come out as their golden values.
func TestDequantize(t *testing.T) {
	files, err := filepath.Glob("quant/testdata/*.blocks.bin")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		typ := strings.TrimSuffix(filepath.Base(name), ".blocks.bin")
		blocks, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(strings.Replace(name, "blocks", "f32", 1))
		if err != nil {
			t.Fatal(err)
		}
		var all, some bytes.Buffer
		if err := Dequantize(&all, bytes.NewReader(blocks), typ, 0); err != nil || all.Len() != len(want) {
			t.Errorf("%s: %d bytes, want %d: %v", typ, all.Len(), len(want), err)
		}
		if err := Dequantize(&some, bytes.NewReader(blocks), typ, 512); err != nil || !bytes.Equal(some.Bytes(), all.Bytes()[:2048]) {
			t.Errorf("%s: the first 512 differ: %v", typ, err)
		}
	}
	if err := Dequantize(io.Discard, strings.NewReader("x"), "F32", 0); !errors.Is(err, ErrBadRequest) {
		t.Errorf("half a value: %v", err)
	}
	if err := Dequantize(io.Discard, strings.NewReader(""), "F32", -1); !errors.Is(err, ErrBadRequest) {
		t.Errorf("less than nothing: %v", err)
	}
}

func TestInspect(t *testing.T) {
	in, err := Inspect("model/testdata/llama-256-q4_k_m.gguf", 64, 2)
	if err != nil || in.Runs != nil || in.NeedsError != nil || in.Needs.KV <= 0 || len(in.Groups) == 0 || len(in.Metadata) == 0 {
		t.Fatalf("%+v, %v", in, err)
	}
	for _, s := range in.Speeds {
		if s.Class != "fast" || s.Bytes <= 0 {
			t.Errorf("%+v", s)
		}
	}
	if in, err = Inspect("tokenizer/testdata/spm-llama.gguf", 0, 0); err != nil || in.Runs == nil {
		t.Errorf("a file without weights: runs %v, %v", in.Runs, err)
	}
}

// What a model takes is what its needs say: no more, and not far below.
func TestNeedsHold(t *testing.T) {
	files, err := filepath.Glob("model/testdata/*.gguf")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "nomic-bert.gguf") {
			continue // without a tokenizer, which Open needs
		}
		in, err := Inspect(name, 64, 2)
		if err != nil || in.NeedsError != nil {
			t.Errorf("%s: %v, %v", name, err, in.NeedsError)
			continue
		}
		takes := open(t, name, Options{ContextLength: 64, Slots: 2, Threads: 1}).Info().MemoryBytes
		if says := in.Needs.Weights + in.Needs.KV; takes > says || takes < says/2 {
			t.Errorf("%s takes %d bytes, its needs say %d", name, takes, says)
		}
	}
}
