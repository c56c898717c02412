package reference

import (
	"fmt"
	"math"

	"rbee/inference/gguf"
)

// facts are what the metadata says of a model's shape, with the defaults of the
// architecture filled in.
type facts struct {
	layers, width, vocab int
	heads, kvHeads       []int // per layer
	keySize, valueSize   int   // of a head
	causal               bool

	eps             float32
	attentionScale  float32 // of queries times keys
	attentionCap    float32 // 0: none
	finalCap        float32 // 0: none
	embeddingScale  float32
	residualScale   float32
	logitScale      float32
	experts, chosen int  // 0: a dense model
	shared          bool // a further expert that every token is sent to
	parallel        bool // attention and MLP side by side

	window   int    // keys a query of a windowed layer sees, itself among them; 0: all
	windowed []bool // per layer
	rope     rope
	swa      rope // of windowed layers
}

// Limits of what a file may say, far beyond any model.
const (
	maxLayers = 1 << 12
	maxHeads  = 1 << 12
	maxWidth  = 1 << 20
)

// A metadata reads keys under the architecture's prefix and keeps the first error.
type metadata struct {
	f      *gguf.File
	prefix string
	layers int
	err    error
}

func (m *metadata) fail(key, format string, args ...any) {
	if m.err == nil {
		m.err = fmt.Errorf("reference: %s%s: %s: %w", m.prefix, key, fmt.Sprintf(format, args...), gguf.ErrFormat)
	}
}

// count reads a number from 1 to most; 0 as the fallback makes it required.
func (m *metadata) count(key string, most, fallback int) int {
	n, ok := m.f.Uint(m.prefix + key)
	if !ok && !m.f.Has(m.prefix+key) {
		if fallback == 0 {
			m.fail(key, "is missing")
		}
		return fallback
	}
	if !ok || n < 1 || n > uint64(most) {
		m.fail(key, "is not from 1 to %d", most)
		return max(fallback, 1)
	}
	return int(n)
}

// optional reads a number that may be missing or 0.
func (m *metadata) optional(key string, most int) int {
	n, _ := m.f.Uint(m.prefix + key)
	if n > uint64(most) {
		m.fail(key, "is more than %d", most)
		return 0
	}
	return int(n)
}

// perLayer reads a number for all layers or an array with one for each.
func (m *metadata) perLayer(key string, fallback []int) []int {
	all := make([]int, m.layers)
	if list, ok := m.f.Ints(m.prefix + key); ok {
		if len(list) < m.layers {
			m.fail(key, "has %d values for %d layers", len(list), m.layers)
			return all
		}
		for i := range all {
			if list[i] < 1 || list[i] > maxHeads {
				m.fail(key, "is not from 1 to %d at layer %d", maxHeads, i)
			}
			all[i] = int(list[i])
		}
		return all
	}
	if !m.f.Has(m.prefix+key) && fallback != nil {
		return fallback
	}
	n := m.count(key, maxHeads, 0)
	for i := range all {
		all[i] = n
	}
	return all
}

// number reads a finite number.
func (m *metadata) number(key string, fallback float64) float64 {
	v, ok := m.f.Float(m.prefix + key)
	if !ok {
		return fallback
	}
	if math.IsNaN(v) || math.IsInf(v, 0) {
		m.fail(key, "is no finite number")
		return fallback
	}
	return v
}

// read reads the facts of the file.
func read(f *gguf.File, arch architecture) (facts, error) {
	m := &metadata{f: f, prefix: f.Architecture() + "."}
	m.layers = m.count("block_count", maxLayers, 0)
	h := facts{
		layers: m.layers, width: m.count("embedding_length", maxWidth, 0),
		heads: m.perLayer("attention.head_count", nil), causal: !arch.encoder,
		embeddingScale: 1, residualScale: 1, logitScale: 1,
		experts: m.optional("expert_count", 1<<12), chosen: m.optional("expert_used_count", 1<<12),
	}
	h.kvHeads = m.perLayer("attention.head_count_kv", h.heads)
	if m.err != nil {
		return facts{}, m.err
	}
	if causal, ok := f.Bool(m.prefix + "attention.causal"); ok {
		h.causal = causal
	}
	h.keySize = m.count("attention.key_length", maxWidth, max(h.width/h.heads[0], 1))
	h.valueSize = m.count("attention.value_length", maxWidth, max(h.width/h.heads[0], 1))
	h.attentionScale = float32(1 / math.Sqrt(float64(h.keySize)))
	h.eps = float32(m.number("attention.layer_norm_rms_epsilon", m.number("attention.layer_norm_epsilon", 1e-5)))
	h.readRope(m)
	h.check(m)
	if arch.tune != nil {
		arch.tune(&h, m)
	}
	return h, m.err
}

// check refuses what fits no model.
func (h *facts) check(m *metadata) {
	for i := range h.layers {
		if h.heads[i]%h.kvHeads[i] != 0 {
			m.fail("attention.head_count_kv", "%d is no divisor of %d heads", h.kvHeads[i], h.heads[i])
		}
	}
	if h.chosen > h.experts || h.experts > 0 && h.chosen == 0 {
		m.fail("expert_used_count", "is %d of %d", h.chosen, h.experts)
	}
	t, ok := m.f.Tensor("token_embd.weight")
	if !ok || len(t.Dims) != 2 || t.Dims[0] != uint64(h.width) || t.Dims[1] > 1<<24 {
		if m.err == nil {
			m.err = fmt.Errorf("reference: token_embd.weight is missing or has no usable shape: %w", gguf.ErrFormat)
		}
		return
	}
	h.vocab = int(t.Dims[1])
}

// windows reads the window and which layers it narrows: those the file lists,
// else all but the last of every so many.
func (h *facts) windows(m *metadata, window, every int) {
	if m.f.Has(m.prefix + "attention.sliding_window") {
		window = m.optional("attention.sliding_window", 1<<30)
	}
	h.window, h.windowed = window, make([]bool, h.layers)
	if window == 0 {
		return
	}
	const key = "attention.sliding_window_pattern"
	list, listed := m.f.Ints(m.prefix + key)
	if listed && len(list) < h.layers {
		m.fail(key, "has %d values for %d layers", len(list), h.layers)
		return
	}
	if n, ok := m.f.Uint(m.prefix + key); ok {
		every = int(min(n, maxLayers))
	}
	for i := range h.windowed {
		if listed {
			h.windowed[i] = list[i] != 0
		} else {
			h.windowed[i] = every == 0 || i%every < every-1
		}
	}
}

// narrow tells whether layer i sees a window only.
func (h *facts) narrow(i int) bool { return h.windowed != nil && h.windowed[i] }
