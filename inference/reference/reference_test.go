package reference_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rbee/inference/gguf"
	"rbee/inference/reference"
)

// What a token's row is does not depend on the tokens after it: what an engine
// with a cache relies on. An encoder's rows all do.
func TestCausal(t *testing.T) {
	for base, name := range files(t, ".gguf") {
		t.Run(name, func(t *testing.T) {
			m := open(t, base+".gguf")
			m.Context = 256
			all, err := m.Run([]int32{270, 11, 29, 265, 280, 40, 31, 271, 288, 17, 263, 275, 50, 266, 290, 291, 292, 12, 293, 294})
			if err != nil {
				t.Fatal(err)
			}
			some, err := m.Run([]int32{270, 11, 29, 265, 280})
			if err != nil {
				t.Fatal(err)
			}
			last := len(some.Layers) - 1
			d := reference.Compare(some.Layers[last], all.Layers[last][:len(some.Layers[last])])
			causal := some.Logits != nil
			if causal && d.MaxAbs > 1e-4 || !causal && d.MaxAbs < 1e-2 {
				t.Errorf("the residual stream after 5 tokens differs by %v when more follow", d.MaxAbs)
			}
		})
	}
}

// A trace has every shape it promises.
func TestTrace(t *testing.T) {
	tests := map[string]struct{ layers, width, vocab int }{
		"llama": {3, 64, 512}, "gemma3": {7, 64, 512}, "bert": {3, 64, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := open(t, "../model/testdata/"+name+".gguf")
			trace, err := m.Run([]int32{5, 6, 7})
			if err != nil {
				t.Fatal(err)
			}
			if len(trace.Layers) != tt.layers {
				t.Errorf("got %d layers, want %d", len(trace.Layers), tt.layers)
			}
			for _, x := range append(trace.Layers, trace.Embedding, trace.Hidden) {
				if len(x) != 3*tt.width {
					t.Errorf("got %d values, want 3 rows of %d", len(x), tt.width)
				}
			}
			if tt.vocab == 0 && trace.Logits != nil {
				t.Error("an encoder has logits")
			}
			for _, row := range trace.Logits {
				if len(row) != tt.vocab {
					t.Errorf("got %d logits, want %d", len(row), tt.vocab)
				}
			}
		})
	}
}

func TestRunRefuses(t *testing.T) {
	m := open(t, "../model/testdata/bert.gguf")
	tests := map[string]struct {
		tokens []int32
		want   string
	}{
		"none":     {nil, "no tokens"},
		"negative": {[]int32{-1}, "token -1"},
		"unknown":  {[]int32{1 << 20}, "token 1048576"},
		"too long": {make([]int32, 200), "position_embd.weight"},
	}
	for name, tt := range tests {
		if _, err := m.Run(tt.tokens); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
	}
	if _, err := m.Embed([]int32{1}, "median"); !errors.Is(err, reference.ErrUnsupported) {
		t.Errorf("unknown pooling: got %v", err)
	}
}

// edited is a golden file with one text in it replaced by another of its length.
func edited(t *testing.T, name, old, now string) *gguf.File {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../model/testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if len(old) != len(now) || !bytes.Contains(b, []byte(old)) {
		t.Fatalf("cannot put %q for %q", now, old)
	}
	f, err := gguf.Parse(bytes.ReplaceAll(b, []byte(old), []byte(now)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestOpenRefusesUnknownArchitecture(t *testing.T) {
	f := edited(t, "llama.gguf", "\x05\x00\x00\x00\x00\x00\x00\x00llama", "\x05\x00\x00\x00\x00\x00\x00\x00lemma")
	_, err := reference.Open(f)
	if !errors.Is(err, reference.ErrUnsupported) || !strings.Contains(err.Error(), `"lemma"`) || !strings.Contains(err.Error(), "gemma3 gpt-oss") {
		t.Errorf("got %v, want the name and the list", err)
	}
}

// Every tensor and key that is lost is missed by its name.
func TestMissing(t *testing.T) {
	tests := map[string]struct{ old, now, want string }{
		"layer":  {"blk.2.attn_k.weight", "blk.2.attn_x.weight", "layer 2: blk.2.attn_k.weight is missing"},
		"norm":   {"output_norm.weight", "output_nurm.weight", "output_norm.weight is missing"},
		"embed":  {"token_embd.weight", "taken_embd.weight", "token_embd.weight is missing"},
		"blocks": {"llama.block_count", "llama.black_count", "llama.block_count: is missing"},
		"heads":  {"llama.attention.head_count", "llama.attention.head_caunt", "llama.attention.head_count: is missing"},
		"shape":  {"blk.0.ffn_down.weight", "blk.0.ffn_dawn.weight", "blk.0.ffn_down.weight is missing"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m, err := reference.Open(edited(t, "llama.gguf", tt.old, tt.now))
			if err == nil {
				_, err = m.Run([]int32{5, 6})
			}
			if !errors.Is(err, gguf.ErrFormat) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// No number in the metadata makes it crash: each that the shape hangs on is set
// to bad values.
func TestBadNumbers(t *testing.T) {
	whole, err := os.ReadFile("../model/testdata/llama.gguf")
	if err != nil {
		t.Fatal(err)
	}
	keys := []string{
		"block_count", "embedding_length", "attention.head_count", "attention.head_count_kv", "attention.key_length",
		"attention.value_length", "rope.dimension_count", "context_length", "feed_forward_length",
	}
	for _, key := range keys {
		at := bytes.Index(whole, []byte("llama."+key)) + len("llama."+key) + 4
		if at < 100 {
			continue // not in this file
		}
		for _, n := range []uint32{0, 1, 3, 5, 1 << 11, 1 << 20, math.MaxUint32} {
			b := slices.Clone(whole)
			binary.LittleEndian.PutUint32(b[at:], n)
			f, err := gguf.Parse(b)
			if err != nil {
				continue
			}
			m, err := reference.Open(f)
			if err == nil {
				_, err = m.Run([]int32{5, 6})
			}
			if err != nil && !errors.Is(err, gguf.ErrFormat) {
				t.Errorf("%s = %d: got %v", key, n, err)
			}
		}
	}
}

func TestCompare(t *testing.T) {
	nan := float32(math.NaN())
	tests := map[string]struct {
		ref, got []float32
		max, cos float64
	}{
		"same":     {[]float32{1, -2}, []float32{1, -2}, 0, 1},
		"double":   {[]float32{1, -2}, []float32{2, -4}, 2, 1},
		"opposite": {[]float32{3}, []float32{-3}, 6, -1},
		"across":   {[]float32{1, 0}, []float32{0, 2}, 2, 0},
		"zeros":    {[]float32{0, 0}, []float32{0, 0}, 0, 1},
		"one zero": {[]float32{0, 0}, []float32{0, 1}, 1, 0},
		"empty":    {nil, nil, 0, 1},
	}
	for name, tt := range tests {
		d := reference.Compare(tt.ref, tt.got)
		if d.MaxAbs != tt.max || math.Abs(d.Cosine-tt.cos) > 1e-12 {
			t.Errorf("%s: got %v, want %v %v", name, d, tt.max, tt.cos)
		}
	}
	if d := reference.Compare([]float32{1}, []float32{nan}); !math.IsInf(d.MaxAbs, 1) || d.Cosine != 0 {
		t.Errorf("not a number: got %v", d)
	}
}

func TestSupported(t *testing.T) {
	got := strings.Join(reference.Supported(), " ")
	const want = "bert gemma gemma2 gemma3 gpt-oss granite granitemoe llama nomic-bert olmo2 olmoe phi3 qwen2 qwen2moe qwen3 qwen3moe smollm3 stablelm starcoder2"
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// No architecture is claimed that no golden model shows to be right.
func TestEveryArchitectureHasAGolden(t *testing.T) {
	shown := map[string]bool{}
	for base := range files(t, ".gguf") {
		f, err := gguf.Open(base + ".gguf")
		if err != nil {
			t.Fatal(err)
		}
		shown[f.Architecture()] = true
		f.Close()
	}
	for _, name := range reference.Supported() {
		if !shown[name] {
			t.Errorf("%s has no golden model in %s", name, *goldens)
		}
	}
}
