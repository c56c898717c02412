package model_test

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"rbee/inference/device/cpu"
	"rbee/inference/gguf"
	"rbee/inference/model"
)

// text returns n token ids that are no pattern.
func text(seed, n int) []int32 {
	ids := make([]int32, n)
	x := uint32(seed)*2654435761 + 1
	for i := range ids {
		x = x*1664525 + 1013904223
		ids[i] = int32(x>>16) % 300
	}
	return ids
}

// decoders names the models in testdata that give logits; in short mode, which the
// race detector uses, some that differ in what runs at once.
func decoders(t *testing.T) (names []string) {
	t.Helper()
	if testing.Short() {
		return []string{"gemma3", "llama-256-q4_k_m", "mixtral"}
	}
	files, err := filepath.Glob("testdata/*.logits.bin")
	if err != nil || len(files) == 0 {
		t.Fatalf("no models in testdata: %v", err)
	}
	for _, f := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(f), ".logits.bin"))
	}
	return names
}

// The logits of a text are the same bits however they are computed: in one step
// or many, alone or in company, by one thread or three, on whatever pages.
func TestInvariance(t *testing.T) {
	for _, name := range decoders(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			prompt := text(1, 75)
			plain := load(t, name, 1, model.Options{ContextLength: 128})
			want := step(t, plain, sequence(t, plain), prompt...)

			for chunk, threads := range map[int]int{1: 1, 7: 2, 16: 3, 64: 2} {
				m := load(t, name, threads, model.Options{ContextLength: 128, PageTokens: 16, PageSeed: 9, Slots: 2, MaxBatch: 64})
				s := sequence(t, m)
				var got []float32
				for part := range slices.Chunk(prompt, chunk) {
					got = step(t, m, s, part...)
				}
				if slices.IsSorted(s.Pages()) || len(s.Pages()) != 5 {
					t.Fatalf("the pages are in order, which tests nothing: %v", s.Pages())
				}
				if !slices.Equal(got, want) {
					t.Errorf("chunks of %d on shuffled pages of 16: other bits", chunk)
				}
			}
		})
	}
}

// A sequence's logits are the same bits alone and among fifteen others, which
// begin with prompts of their own lengths, some of them later.
func TestCompany(t *testing.T) {
	for _, name := range decoders(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			company(t, load(t, name, 2, model.Options{ContextLength: 128, PageTokens: 16, Slots: 16, MaxBatch: 512}))
		})
	}
}

const among, steps = 16, 6

func company(t *testing.T, m *model.Model) {
	then := text(9, steps)
	prompts, want := make([][]int32, among), make([][][]float32, among)
	for j := range among {
		prompts[j] = text(j, 1+(j*37)%61)
		s := sequence(t, m)
		want[j] = append(want[j], step(t, m, s, prompts[j]...))
		for _, id := range then {
			want[j] = append(want[j], step(t, m, s, id))
		}
		s.Close()
	}
	seqs := make([]*model.Sequence, among)
	for j := range seqs {
		seqs[j] = sequence(t, m)
	}
	for i := range steps + 3 {
		var batch []model.Input
		var who []int
		for j, s := range seqs {
			at := i - j%3 // every third begins two steps later
			if at < 0 || at > steps {
				continue
			}
			in := model.Input{Seq: s, Logits: model.Last, Tokens: prompts[j]}
			if at > 0 {
				in.Tokens = then[at-1 : at]
			}
			batch, who = append(batch, in), append(who, j)
		}
		out, err := m.Step(t.Context(), batch)
		if err != nil {
			t.Fatal(err)
		}
		for k, j := range who {
			if !slices.Equal(out[k], want[j][i-j%3]) {
				t.Fatalf("step %d: sequence %d has other bits than alone", i, j)
			}
		}
	}
}

func TestAllLogitsAndTruncate(t *testing.T) {
	m := load(t, "llama", 2, model.Options{ContextLength: 64, PageTokens: 16})
	prompt := text(4, 30)
	s := sequence(t, m)
	all, err := m.Step(t.Context(), []model.Input{{Seq: s, Tokens: prompt, Logits: model.All}})
	if err != nil || len(all) != len(prompt) {
		t.Fatalf("got %d rows, %v", len(all), err)
	}
	want := make([][]float32, len(all))
	for i := range all {
		want[i] = slices.Clone(all[i])
	}
	for _, keep := range []int{29, 16, 15, 1} {
		s.Truncate(keep)
		if s.Len() != keep || len(s.Pages()) != (keep+15)/16 {
			t.Errorf("Truncate(%d): %d tokens on %d pages", keep, s.Len(), len(s.Pages()))
		}
		if got := step(t, m, s, prompt[keep:]...); !slices.Equal(got, want[29]) {
			t.Errorf("again from %d: other bits", keep)
		}
	}
	none, err := m.Step(t.Context(), []model.Input{{Seq: s, Tokens: prompt[:1]}})
	if err != nil || len(none) != 0 {
		t.Errorf("logits that nobody wants: %d, %v", len(none), err)
	}
}

func TestLimits(t *testing.T) {
	m := load(t, "llama", 1, model.Options{ContextLength: 32, MaxBatch: 16, Slots: 1})
	s := sequence(t, m)
	if _, err := m.NewSequence(); !errors.Is(err, model.ErrNoSlot) {
		t.Errorf("a second sequence: %v", err)
	}
	feed := func(tokens []int32) error {
		_, err := m.Step(t.Context(), []model.Input{{Seq: s, Tokens: tokens, Logits: model.Last}})
		return err
	}
	for name, tokens := range map[string][]int32{"none": nil, "too many": text(1, 17), "negative": {-1}, "outside": {1 << 20}} {
		if feed(tokens) == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for range 2 {
		if err := feed(text(1, 16)); err != nil {
			t.Fatal(err)
		}
	}
	if err := feed(text(1, 1)); !errors.Is(err, model.ErrContextFull) || s.Len() != 32 {
		t.Errorf("a full context: %v, length %d", err, s.Len())
	}
	s.Close()
	s.Close()
	if s, err := m.NewSequence(); err != nil || s.Len() != 0 {
		t.Errorf("a slot that was given back: %v", err)
	}
	if feed(text(1, 1)) == nil {
		t.Error("a closed sequence was fed")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Step(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a done context: %v", err)
	}
}

func TestStepAllocatesNothing(t *testing.T) {
	for _, name := range []string{"llama-256-q4_k_m", "mixtral", "gemma3"} {
		t.Run(name, func(t *testing.T) { stepAllocatesNothing(t, name) })
	}
}

func stepAllocatesNothing(t *testing.T, name string) {
	m := load(t, name, 2, model.Options{ContextLength: 256})
	s := sequence(t, m)
	batch := []model.Input{{Seq: s, Tokens: []int32{5}, Logits: model.Last}}
	ctx := t.Context()
	run := func() {
		if _, err := m.Step(ctx, batch); err != nil {
			t.Fatal(err)
		}
	}
	step(t, m, s, text(1, 100)...)
	s.Truncate(20)
	run()
	if n := testing.AllocsPerRun(10, run); n != 0 {
		t.Errorf("%v allocations in a step", n)
	}
}

func TestLoadRefuses(t *testing.T) {
	f, err := gguf.Open("testdata/llama.gguf")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	before := runtime.NumGoroutine()
	dev := cpu.Open(3, "test")
	if _, err := model.Load(t.Context(), f, dev, model.Options{ContextLength: 1 << 20}, nil); !errors.Is(err, model.ErrUnsupported) {
		t.Errorf("a context the model was not trained for: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = model.Load(ctx, f, dev, model.Options{}, func(p model.Progress) {
		if p.LayersLoaded == 1 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a load that was cancelled: %v", err)
	}
	for range 2 {
		dev.Close()
	}
	// A goroutine that has said its last word is counted until it is gone.
	for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines before, %d after Close", before, runtime.NumGoroutine())
		}
	}
}

// A step ends between layers when nobody waits for it, changes nothing, and goes
// on when somebody still does.
func TestAbandoned(t *testing.T) {
	m := load(t, "llama", 2, model.Options{ContextLength: 64, Slots: 2})
	a, b := sequence(t, m), sequence(t, m)
	want := step(t, m, a, text(1, 20)...)
	a.Truncate(0)
	gone, wanted := make(chan struct{}), make(chan struct{})
	layers := 0
	m.Watch(func(layer int, _ []float32) {
		if layers++; layer == 1 {
			close(gone)
		}
	})
	_, err := m.Step(t.Context(), []model.Input{{Seq: a, Tokens: text(1, 20), Logits: model.Last, Done: gone}})
	if !errors.Is(err, model.ErrAbandoned) || layers != 2 || a.Len() != 0 {
		t.Fatalf("after %d layers, %d tokens: %v", layers, a.Len(), err)
	}
	m.Watch(nil)
	out, err := m.Step(t.Context(), []model.Input{
		{Seq: b, Tokens: text(2, 9), Done: gone},
		{Seq: a, Tokens: text(1, 20), Logits: model.Last, Done: wanted},
	})
	if err != nil || !slices.Equal(out[0], want) {
		t.Errorf("a step that one of two waits for: %v", err)
	}
}
