package inference

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"slices"
	"sync"
	"testing"
)

// The golden vectors come out of the whole engine, beside answers under way.
func TestEmbed(t *testing.T) {
	raw, err := os.ReadFile("model/testdata/bert.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Texts []struct {
			Text   string
			Tokens []int32
			Mean   []float32
			CLS    []float32
		}
	}
	if err := json.Unmarshal(raw, &golden); err != nil {
		t.Fatal(err)
	}
	e := start(t, "model/testdata/bert.gguf", Options{Threads: 1, Slots: 4})
	var all sync.WaitGroup
	for _, text := range golden.Texts[:4] {
		all.Go(func() {
			for pooling, want := range map[string][]float32{"mean": text.Mean, "cls": text.CLS} {
				if want == nil {
					continue
				}
				got, err := e.Embed(t.Context(), text.Tokens, pooling)
				if err != nil || len(got) != len(want) || !slices.EqualFunc(got, want, near) {
					t.Errorf("%q, %s: got %v, %v; want %v", text.Text, pooling, got[:min(4, len(got))], err, want[:4])
				}
			}
		})
	}
	all.Wait()
	if e.SlotsFree() != 4 {
		t.Errorf("%d of 4 slots are free", e.SlotsFree())
	}
}

func near(a, b float32) bool { return math.Abs(float64(a-b)) < 2e-3 }

func TestEmbedRefused(t *testing.T) {
	e := start(t, "model/testdata/llama.gguf", Options{Threads: 1, ContextLength: 32})
	if v, err := e.Embed(t.Context(), []int32{1, 2, 3}, "last"); err != nil || len(v) == 0 {
		t.Errorf("a decoder's last: %v, %v", v, err)
	}
	if _, err := e.Embed(t.Context(), []int32{1}, "sum"); !errors.Is(err, ErrUnsupported) {
		t.Errorf("another pooling: %v", err)
	}
	if _, err := e.Embed(t.Context(), nil, "mean"); !errors.Is(err, ErrBadRequest) {
		t.Errorf("no tokens: %v", err)
	}
	if _, err := e.Embed(t.Context(), []int32{1 << 20}, "mean"); !errors.Is(err, ErrBadRequest) {
		t.Errorf("a token outside: %v", err)
	}
	if _, err := e.Embed(t.Context(), make([]int32, 33), "mean"); err == nil {
		t.Error("more than the context holds was embedded")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Embed(ctx, []int32{1}, "mean"); !IsCancelled(err) {
		t.Errorf("cancelled: %v", err)
	}
	if e.SlotsFree() != 1 {
		t.Error("the slot is not free")
	}
}
