// Package model runs transformer models: the configuration and weights of a GGUF
// file, a paged KV cache, and one step that advances any mix of sequences.
package model

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"rbee/inference/gguf"
)

// ErrUnsupported is in the tree of every error about a file that is in order but
// asks for something that this engine does not have.
var ErrUnsupported = errors.New("not supported")

// Config is the shape of a model.
type Config struct {
	Architecture  string
	Layers        int
	Width         int // of the residual stream (embedding_length)
	Hidden        int // of the MLP (feed_forward_length)
	Heads         int
	KVHeads       int // a divisor of Heads
	HeadSize      int
	Vocab         int
	TrainContext  int // tokens it was trained for
	ContextLength int // tokens per sequence that this instance has room for
	Eps           float32
	Rope          Rope
}

// Rope is the rotary embedding: pair i of a head turns by position·Base^(−2i/Dims)/Scale.
type Rope struct {
	Dims  int // of a head that turn; even
	Base  float64
	Scale float64 // linear scaling; 1 is none
}

// Supported names the architectures that Load takes.
func Supported() string { return "llama" }

// A keys reads metadata under the architecture's prefix and keeps the first error.
type keys struct {
	f      *gguf.File
	prefix string
	err    error
}

func (k *keys) fail(name, format string, args ...any) {
	if k.err == nil {
		k.err = fmt.Errorf("model: %s: "+format, append([]any{k.prefix + name}, args...)...)
	}
}

// size reads a number from 1 to most. A default of 0 makes the key required.
func (k *keys) size(name string, most, fallback int) int {
	key := k.prefix + name
	if !k.f.Has(key) {
		if fallback == 0 {
			k.fail(name, "is missing: %w", gguf.ErrFormat)
		}
		return fallback
	}
	n, ok := k.f.Uint(key)
	if !ok || n < 1 || n > uint64(most) {
		k.fail(name, "is out of range, want 1 to %d: %w", most, gguf.ErrFormat)
		return max(fallback, 1)
	}
	return int(n)
}

// number reads a positive, finite number.
func (k *keys) number(name string, fallback float64) float64 {
	if !k.f.Has(k.prefix + name) {
		return fallback
	}
	x, ok := k.f.Float(k.prefix + name)
	if !ok || !(x > 0) || math.IsInf(x, 0) {
		k.fail(name, "is no positive number: %w", gguf.ErrFormat)
		return fallback
	}
	return x
}

// Limits of what a configuration may say: far beyond any model, and small
// enough that no product of them overflows.
const (
	maxLayers  = 1 << 12
	maxWidth   = 1 << 20
	maxHeads   = 1 << 12
	maxContext = 1 << 24
	maxVocab   = 1 << 24
)

// ReadConfig reads the shape of the model in f.
func ReadConfig(f *gguf.File) (Config, error) {
	arch := f.Architecture()
	if arch == "" {
		return Config{}, fmt.Errorf("model: general.architecture is missing: %w", gguf.ErrFormat)
	}
	if arch != "llama" {
		return Config{}, fmt.Errorf("model: architecture %q is %w, only: %s", arch, ErrUnsupported, Supported())
	}
	k := &keys{f: f, prefix: arch + "."}
	c := Config{
		Architecture: arch,
		Layers:       k.size("block_count", maxLayers, 0),
		Width:        k.size("embedding_length", maxWidth, 0),
		Hidden:       k.size("feed_forward_length", maxWidth, 0),
		Heads:        k.size("attention.head_count", maxHeads, 0),
		TrainContext: k.size("context_length", maxContext, 0),
		Eps:          float32(k.number("attention.layer_norm_rms_epsilon", 1e-5)),
	}
	c.KVHeads = k.size("attention.head_count_kv", maxHeads, c.Heads)
	if k.err == nil {
		c.HeadSize = k.size("attention.key_length", maxWidth, max(c.Width/c.Heads, 1))
		c.Rope = k.rope(c.HeadSize)
		k.refuse(c)
	}
	t, ok := f.Tensor("token_embd.weight")
	if k.err == nil && (!ok || len(t.Dims) != 2 || t.Dims[1] > maxVocab) {
		k.err = fmt.Errorf("model: token_embd.weight is missing or has no usable shape: %w", gguf.ErrFormat)
	}
	if k.err != nil {
		return Config{}, k.err
	}
	c.Vocab = int(t.Dims[1])
	return c, nil
}

func (k *keys) rope(headSize int) Rope {
	r := Rope{
		Dims: k.size("rope.dimension_count", headSize, headSize),
		Base: k.number("rope.freq_base", 10000), Scale: k.number("rope.scale_linear", 1),
	}
	typ, _ := k.f.String(k.prefix + "rope.scaling.type")
	switch typ {
	case "", "none":
	case "linear":
		r.Scale = k.number("rope.scaling.factor", r.Scale)
	default:
		k.fail("rope.scaling.type", "%q is %w, only: none linear", typ, ErrUnsupported)
	}
	if r.Dims%2 != 0 {
		k.fail("rope.dimension_count", "%d is odd: %w", r.Dims, gguf.ErrFormat)
	}
	return r
}

// refuse names what fits no model, or none of ours.
func (k *keys) refuse(c Config) {
	if c.Heads%c.KVHeads != 0 {
		k.fail("attention.head_count_kv", "%d is no divisor of %d heads: %w", c.KVHeads, c.Heads, gguf.ErrFormat)
	}
	if n := k.size("attention.value_length", maxWidth, c.HeadSize); n != c.HeadSize {
		k.fail("attention.value_length", "%d differs from key_length %d, which is %w", n, c.HeadSize, ErrUnsupported)
	}
	if n, _ := k.f.Uint(k.prefix + "expert_count"); n > 0 {
		k.fail("expert_count", "%d: mixtures of experts are %w", n, ErrUnsupported)
	}
	for _, name := range []string{"attention.causal"} {
		if causal, ok := k.f.Bool(k.prefix + name); ok && !causal {
			k.fail(name, "false is %w", ErrUnsupported)
		}
	}
}

// known tells whether a tensor may stand in the file without being read.
func known(name string) bool { return strings.HasSuffix(name, "attn_rot_embd.weight") }
