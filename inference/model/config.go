// Package model runs transformer models: the configuration and weights of a GGUF
// file, a paged KV cache, and one step that advances any mix of sequences.
//
// An architecture is a file here that says what is particular about it; the
// forward pass that all decoders share is in decoder.go, that of encoders in
// encoder.go.
package model

import (
	"errors"
	"fmt"
	"math"

	"rbee/inference/device"
	"rbee/inference/gguf"
)

// ErrUnsupported is in the tree of every error about a file that is in order but
// asks for something that this engine does not have.
var ErrUnsupported = errors.New("not supported")

// Config is the shape of a model and what is particular about it. The zero value
// of a particular is what llama does.
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
	Pooling       Pooling

	eps          float32
	layerNorm    bool // norms take the mean away and may have a bias
	normless     bool // nothing is normed before the blocks (olmo2)
	rope         Rope
	split        bool // rotation pairs lie half a head apart
	local        local
	bareEvery    int // every so many layers one has no rotation; 0: none
	queryNorm    queryNorm
	postNorm     bool // what a block gives is normed before it is added
	mlpNorm      string
	scale        float32 // of the attention's scores
	scoreCap     float32
	sinks        bool
	embedScale   float32
	addScale     float32 // of what joins the residual stream
	logitScale   float32
	logitCap     float32
	act          device.Activation
	ungated      bool // the MLP has no gate
	experts      experts
	encoder      bool // sees all of the text, gives no logits
	learnedPlace bool // positions are a table (bert)
}

// Answers tells whether the model gives logits: an encoder gives vectors only.
func (c Config) Answers() bool { return !c.encoder }

// A local describes the layers that see a window only.
type local struct {
	window int
	layers []bool // which ones
	rope   Rope
}

// A queryNorm is what the norms of queries and keys span.
type queryNorm int

const (
	noQueryNorm    queryNorm = iota
	perHead                  // each head, the same weights for all
	acrossHeads              // all heads as one vector
	perHeadWeights           // each head, with weights of its own, if the file has them
)

// experts describes a mixture of experts.
type experts struct {
	count, used int
	hidden      int // of one expert
	shared      int // hidden width of the expert that everyone goes through; 0: none
	switched    bool
	ofChosen    bool
	normalize   bool
}

// ReadConfig reads the shape of the model in f.
func ReadConfig(f *gguf.File) (Config, error) {
	arch := f.Architecture()
	if arch == "" {
		return Config{}, fmt.Errorf("model: general.architecture is missing: %w", gguf.ErrFormat)
	}
	a, ok := architectures[arch]
	if !ok {
		return Config{}, fmt.Errorf("model: architecture %q is %w, only: %s", arch, ErrUnsupported, Supported())
	}
	k := &keys{f: f, prefix: arch + "."}
	c := Config{
		Architecture: arch,
		Layers:       k.size("block_count", maxLayers, 0),
		Width:        k.size("embedding_length", maxWidth, 0),
		Heads:        k.size("attention.head_count", maxHeads, 0),
		TrainContext: k.size("context_length", maxContext, 0),
		mlpNorm:      "ffn_norm",
	}
	c.KVHeads = k.size("attention.head_count_kv", maxHeads, max(c.Heads, 1))
	if k.err == nil {
		c.HeadSize = k.size("attention.key_length", maxWidth, max(c.Width/c.Heads, 1))
		c.scale = float32(1 / math.Sqrt(float64(c.HeadSize)))
		c.rope = k.rope(c.HeadSize)
		a.particulars(k, &c)
		k.common(&c)
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

// common reads what depends on the particulars.
func (k *keys) common(c *Config) {
	name := "attention.layer_norm_rms_epsilon"
	if c.layerNorm {
		name = "attention.layer_norm_epsilon"
	}
	c.eps = float32(k.number(name, 1e-5))
	c.Pooling = k.pooling()
	if c.experts.count == 0 || c.experts.hidden == 0 {
		c.Hidden = k.size("feed_forward_length", maxWidth, 0)
		if c.experts.count > 0 {
			c.experts.hidden = c.Hidden
		}
	}
}

// mixture reads the keys of a mixture of experts, if the model is one.
func (k *keys) mixture(required bool) (e experts) {
	n, _ := k.f.Uint(k.prefix + "expert_count")
	if n == 0 && !required {
		return e
	}
	e.count = k.size("expert_count", maxExperts, 0)
	e.used = k.size("expert_used_count", max(e.count, 1), 0)
	if k.f.Has(k.prefix + "expert_feed_forward_length") {
		e.hidden = k.size("expert_feed_forward_length", maxWidth, 0)
	}
	return e
}

// window reads the sliding window, and which layers have it: all but every
// period-th one.
func (k *keys) window(c *Config, period, fallback int) {
	name := "attention.sliding_window"
	if n, ok := k.f.Uint(k.prefix + name); fallback == 0 && (!ok || n == 0) {
		return
	}
	c.local.window = k.size(name, maxContext, fallback)
	name = "attention.sliding_window_pattern"
	c.local.layers = make([]bool, c.Layers)
	if list, ok := k.f.Ints(k.prefix + name); ok {
		if len(list) < c.Layers {
			k.fail(name, "has %d values for %d layers: %w", len(list), c.Layers, gguf.ErrFormat)
			return
		}
		for i := range c.local.layers {
			c.local.layers[i] = list[i] != 0
		}
		return
	}
	period = k.size(name, maxLayers, period)
	for i := range c.local.layers {
		c.local.layers[i] = i%period < period-1
	}
}

// refuse names what fits no model, or none of ours.
func (k *keys) refuse(c Config) {
	if c.Heads%c.KVHeads != 0 {
		k.fail("attention.head_count_kv", "%d is no divisor of %d heads: %w", c.KVHeads, c.Heads, gguf.ErrFormat)
	}
	if n := k.size("attention.value_length", maxWidth, c.HeadSize); n != c.HeadSize {
		k.fail("attention.value_length", "%d differs from key_length %d, which is %w", n, c.HeadSize, ErrUnsupported)
	}
	if n, _ := k.f.Uint(k.prefix + "expert_count"); n > 0 && c.experts.count == 0 {
		k.fail("expert_count", "%d: mixtures of experts are %w for this architecture", n, ErrUnsupported)
	}
	if causal, ok := k.f.Bool(k.prefix + "attention.causal"); ok && causal == c.encoder {
		k.fail("attention.causal", "%v is %w", causal, ErrUnsupported)
	}
}
