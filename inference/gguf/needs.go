package gguf

import (
	"fmt"
)

// kvValueBytes is the size of one value of the KV cache: the engine keeps float32.
const kvValueBytes = 4

// stepTokens is how many tokens a step takes at most, which the buffers are for.
const stepTokens = 512

// Needs is the memory that a model takes, in bytes.
type Needs struct {
	Weights int64
	KV      int64
	Compute int64
}

// Total is all of it.
func (n Needs) Total() int64 { return n.Weights + n.KV + n.Compute }

// Needs returns what the model takes with slots sequences of context tokens
// each. It is the one formula for memory: placement, the hive's check and the
// engine use it. The file must have the architecture's keys.
func (f *File) Needs(context, slots int) (Needs, error) {
	arch := f.Architecture()
	key := func(name string) (int64, error) {
		n, ok := f.Uint(arch + "." + name)
		if !ok || n == 0 || n > 1<<31 {
			return 0, fmt.Errorf("gguf: %s.%s is missing or out of range: %w", arch, name, ErrFormat)
		}
		return int64(n), nil
	}
	var layers, heads, embd, ff int64
	for name, to := range map[string]*int64{"block_count": &layers, "attention.head_count": &heads, "embedding_length": &embd, "feed_forward_length": &ff} {
		var err error
		if *to, err = key(name); err != nil {
			return Needs{}, err
		}
	}
	kvHeads, headSize := heads, embd/heads
	if n, err := key("attention.head_count_kv"); err == nil {
		kvHeads = n
	}
	if n, err := key("attention.key_length"); err == nil {
		headSize = n
	}
	vocab := int64(0)
	if t, ok := f.Tensor("token_embd.weight"); ok && len(t.Dims) == 2 {
		vocab = int64(t.Dims[1])
	}
	var n Needs
	for _, t := range f.tensors {
		n.Weights += t.Size
	}
	n.KV = int64(context) * int64(slots) * layers * 2 * kvHeads * headSize * kvValueBytes
	n.Compute = 4 * (stepTokens*(4*embd+3*ff+2*(heads+kvHeads)*headSize) + int64(slots)*vocab)
	return n, nil
}
