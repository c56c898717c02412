package gguf

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// How the engine lays memory out; package model and the CPU device do the same.
const (
	stepTokens = 512 // a step takes at most, which the buffers are for
	pageTokens = 32  // the cache is handed out in pages of so many tokens
	panelRows  = 32  // matrices are padded to a multiple of so many rows
)

// Needs is the memory that a model takes, in bytes.
type Needs struct {
	Weights int64 // packed, with what stays in the file and is looked up
	KV      int64 // the cache of all sequences
	Compute int64 // buffers of a step
}

// Total is all of it.
func (n Needs) Total() int64 { return n.Weights + n.KV + n.Compute }

// Needs returns what the model takes with slots sequences of context tokens each;
// a context of 0 is the model's, at most 8192. It is the one formula for memory:
// placement, the hive's check and the engine use it. It needs no more of the file
// than general.architecture and block_count; what else is missing counts as 0, or
// as other keys say.
func (f *File) Needs(context, slots int) (Needs, error) {
	s, err := f.shape()
	if err != nil {
		return Needs{}, err
	}
	if context <= 0 {
		context = f.DefaultContext()
	}
	slots = max(slots, 1)
	if tokens := float64(context) * float64(slots); tokens*float64(s.kvPerToken+4*(s.column+s.turns+s.vocab)) > math.MaxInt64/2 {
		return Needs{}, fmt.Errorf("gguf: a context of %d tokens in %d slots is out of range: %w", context, slots, ErrFormat)
	}
	n := Needs{KV: s.kvPerToken * pages(context) * int64(slots)}
	for _, t := range f.tensors {
		n.Weights += packedBytes(t)
	}
	step := int64(stepTokens)
	if s.encoder { // it sees a text whole
		step = max(step, int64(context))
	}
	n.Compute = 4 * (step*s.column + int64(slots)*(s.vocab+s.width) + int64(context)*s.turns)
	return n, nil
}

// HalfCache tells whether keys and values are kept in float16: where the file has
// quantised weights, whose rounding is coarser. Else they stay float32. Of a file's
// first bytes, which do not tell the tensors, general.file_type is believed; without it
// the answer is no, which is more memory.
func (f *File) HalfCache() bool {
	if n, ok := f.Uint("general.file_type"); ok && len(f.tensors) == 0 {
		const f32, f16, bf16 = 0, 1, 32 // ggml's numbers of what most tensors are
		return n != f32 && n != f16 && n != bf16
	}
	return slices.ContainsFunc(f.tensors, func(t Tensor) bool { return blockTypes[t.Type].block > 1 })
}

const defaultContext = 8192

// DefaultContext is the context that a model is given when nobody asks for one:
// its own, at most 8192 tokens.
func (f *File) DefaultContext() int {
	if n, ok := f.Uint(f.Architecture() + ".context_length"); ok && n > 0 && n < defaultContext {
		return int(n)
	}
	return defaultContext
}

// pages is context tokens in whole pages.
func pages(context int) int64 {
	return (int64(context) + pageTokens - 1) / pageTokens * pageTokens
}

// packedBytes is what a tensor takes in memory: vectors as float32, matrices as in
// the file, each with its rows padded. The embedding is counted once: it is packed
// where it is the head, too, else it stays in the file.
func packedBytes(t Tensor) int64 {
	if len(t.Dims) == 1 {
		return 4 * int64(t.Dims[0])
	}
	rows, each := int64(t.Dims[1]), int64(1)
	for _, d := range t.Dims[2:] { // one matrix for each expert
		each *= int64(d)
	}
	row := t.Size / (rows * each)
	return row * ((rows + panelRows - 1) / panelRows * panelRows) * each
}

// A shape is what the memory depends on besides the weights; widths in values.
type shape struct {
	width, vocab int64
	kvPerToken   int64 // bytes, in all layers
	column       int64 // values that a step keeps of one token
	turns        int64 // values that rotations keep for each position
	encoder      bool
}

// shape reads the keys of the architecture.
func (f *File) shape() (s shape, err error) {
	layers, err := f.dimension("block_count")
	if err != nil {
		return s, err
	}
	embedding, _ := f.Tensor("token_embd.weight")
	s.width, s.vocab = f.optional("embedding_length", 0), f.optional("vocab_size", 0)
	if len(embedding.Dims) == 2 {
		s.vocab = int64(embedding.Dims[1])
		s.width = max(s.width, int64(embedding.Dims[0]))
	}
	heads := f.perLayer("attention.head_count", layers, 0)
	kvHeads := f.perLayer("attention.head_count_kv", layers, -1)
	most := slices.Max(heads)
	size := f.optional("attention.key_length", s.width/max(most, 1))
	value := f.optional("attention.value_length", size)
	mostKV, valueBytes := int64(0), int64(4)
	if f.HalfCache() {
		valueBytes = 2
	}
	for i := range layers {
		n := kvHeads[i]
		if n < 0 {
			n = heads[i]
		}
		mostKV = max(mostKV, n)
		s.kvPerToken += n * (size + value) * valueBytes
	}
	s.turns = f.optional("rope.dimension_count", size)
	if f.Has(f.Architecture() + ".attention.sliding_window") { // rotations of two kinds
		s.turns *= 2
	}
	causal, said := f.Bool(f.Architecture() + ".attention.causal")
	s.encoder = said && !causal
	// The residual stream, a normed copy and a block's result; queries and what the
	// attention gives; keys and values; a quarter more for quantised copies.
	s.column = 3*s.width + most*(size+value) + mostKV*(size+value)
	s.column += f.mlpColumn(layers, s.width)
	s.column += s.column / 4
	return s, nil
}

// mlpColumn is what the MLP keeps of one token: gate, up and a quantised copy, of
// an expert as often as experts are used.
func (f *File) mlpColumn(layers int, width int64) int64 {
	hidden := slices.Max(f.perLayer("feed_forward_length", layers, 0))
	experts := f.optional("expert_count", 0)
	if experts == 0 {
		return 3 * hidden
	}
	used := f.optional("expert_used_count", 1)
	each := f.optional("expert_feed_forward_length", hidden)
	shared := f.optional("expert_shared_feed_forward_length", 0)
	return 3*used*each + used*width + experts + 3*max(shared, each)
}

// maxDimension bounds what any key of a shape says, so that products stay in range.
const maxDimension = 1 << 20

// dimension reads a key of the architecture that must be there.
func (f *File) dimension(name string) (int, error) {
	key := f.Architecture() + "." + name
	if !f.Has(key) {
		return 0, fmt.Errorf("gguf: %s is missing: %w", key, ErrFormat)
	}
	n, ok := f.Uint(key)
	if !ok || n < 1 || n > maxTensors {
		return 0, fmt.Errorf("gguf: byte %d: %s is out of range, want 1 to %d: %w", f.at(key), key, maxTensors, ErrFormat)
	}
	return int(n), nil
}

// optional reads a number of the architecture, of an array the greatest.
func (f *File) optional(name string, fallback int64) int64 {
	key := f.Architecture() + "." + name
	if n, ok := f.Uint(key); ok {
		return int64(min(n, maxDimension))
	}
	if list, ok := f.Ints(key); ok && len(list) > 0 {
		return bounded(slices.Max(list))
	}
	return fallback
}

// perLayer reads a number that is one for all layers or an array with one for each.
func (f *File) perLayer(name string, layers int, fallback int64) []int64 {
	all := slices.Repeat([]int64{f.optional(name, fallback)}, layers)
	if list, ok := f.Ints(f.Architecture() + "." + name); ok {
		for i := range min(layers, len(list)) {
			all[i] = bounded(list[i])
		}
	}
	return all
}

func bounded(n int64) int64 { return min(max(n, 0), maxDimension) }

// A Group is the tensors of one role, such as "attn_q.weight" of all layers.
type Group struct {
	Role     string
	Types    []string // each once
	Numbers  []uint32 // of the types, by ggml
	Count    int
	Elements int64
	Bytes    int64
}

// Groups returns the tensors by role, in the order of the file.
func (f *File) Groups() (groups []Group) {
	place := map[string]int{}
	for _, t := range f.tensors {
		role := t.Name
		if rest, ok := strings.CutPrefix(role, "blk."); ok {
			if _, after, ok := strings.Cut(rest, "."); ok {
				role = "blk.*." + after
			}
		}
		i, ok := place[role]
		if !ok {
			i = len(groups)
			place[role], groups = i, append(groups, Group{Role: role})
		}
		g := &groups[i]
		if !slices.Contains(g.Numbers, t.Type) {
			g.Numbers, g.Types = append(g.Numbers, t.Type), append(g.Types, TypeName(t.Type))
		}
		g.Count++
		g.Bytes += t.Size
		if n := t.Elements(); g.Elements <= math.MaxInt64-n {
			g.Elements += n
		}
	}
	return groups
}
