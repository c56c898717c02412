// Package reference runs the same models as the fast engine, slowly and by other
// means: it is the truth that "worker verify" and tests compare with.
//
// An architecture is a list of operations (architectures.go), and a list becomes
// graphs of Gorgonia in float32, one per layer (stage.go). Nothing is shared with
// the fast engine but the reader of files and the plain decode of block types:
// the metadata is read again, and every formula is written again.
//
// # What the graphs do not do
//
// Four things are done beside the graphs, on plain slices: the rows of the
// embedding are gathered; rope's cosines and sines and the mask of attention are
// computed as tables; a router's experts are chosen and their weights
// normalised, between two graphs; the rows of the tokens an expert is given are
// gathered, and its results added up. The curved functions are nodes with an
// operation of ours (function.go): Gorgonia has no erf, its exp in float32 is
// wrong by 2e-6, and its softmax gives NaN for large scores.
//
// # Design
//
// Heads are never cut out of a matrix, nor put side by side: the weights are cut
// when they are read, so each head is a small projection of its own, and the
// output is the sum over heads. A row is spread over a matrix by a product with a
// column of ones, and halves are swapped by a product with a permutation. Those
// products are exact, and no graph needs views, slices or broadcasts, where
// Gorgonia is least reliable.
//
// # Where others differ
//
// The formulas are llama.cpp's, as far as they are the model's. bert's gelu is
// the paper's, by erf; llama.cpp takes the one by tanh, rounded to float16. As
// in llama.cpp, yarn's bounds are rounded outwards, also for files made from a
// configuration that says otherwise (the real gpt-oss: transformers rounds
// nothing there), and phi3's window is not applied.
package reference

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"rbee/inference/gguf"
)

// ErrUnsupported is in the tree of every error about a file that is in order but
// asks for what this engine does not have.
var ErrUnsupported = errors.New("not supported")

// A Model is an open file that can be run. It may be used by many at once.
type Model struct {
	// Context is how many tokens a sequence may reach. It matters to longrope
	// alone, which has other factors for long ones; 0: the tokens of the run.
	Context int

	f     *gguf.File
	facts facts
	arch  architecture
}

// A Trace is everything a run computes. Arrays are row-major, n is the number of
// tokens.
type Trace struct {
	Embedding []float32   // (n, width): the residual stream that enters the first layer
	Layers    [][]float32 // (n, width) each: the residual stream that leaves layer i
	Hidden    []float32   // (n, width): after the final norm
	Logits    [][]float32 // n of vocab each, scaled and capped; none for an encoder
}

// Supported names the architectures that Open takes, sorted.
func Supported() []string { return slices.Sorted(maps.Keys(architectures)) }

// Open reads the model's shape and refuses what this engine cannot run. It reads
// no weights: Run does, layer by layer, so f must stay open.
func Open(f *gguf.File) (*Model, error) {
	name := f.Architecture()
	if name == "" {
		return nil, fmt.Errorf("reference: general.architecture is missing: %w", gguf.ErrFormat)
	}
	arch, ok := architectures[name]
	if !ok {
		return nil, fmt.Errorf("reference: architecture %q is %w, only: %s", name, ErrUnsupported, strings.Join(Supported(), " "))
	}
	facts, err := read(f, arch)
	if err != nil {
		return nil, err
	}
	return &Model{f: f, facts: facts, arch: arch}, nil
}

// Run computes the whole sequence at once, position 0 first, with no cache. It
// holds the weights of one layer in float32 at a time.
func (m *Model) Run(tokens []int32) (*Trace, error) {
	t, err := m.trunk(tokens)
	if err != nil {
		return nil, err
	}
	if m.arch.encoder {
		return t, nil
	}
	if t.Logits, err = m.logits(t.Hidden, len(tokens)); err != nil {
		return nil, fmt.Errorf("reference: output: %w", err)
	}
	return t, nil
}

// trunk is Run without the logits.
func (m *Model) trunk(tokens []int32) (*Trace, error) {
	x, err := m.embed(tokens)
	if err != nil {
		return nil, fmt.Errorf("reference: token_embd.weight: %w", err)
	}
	n, t := len(tokens), &Trace{}
	if x, err = m.run(-1, n, x, m.arch.pre); err != nil {
		return nil, fmt.Errorf("reference: embedding: %w", err)
	}
	t.Embedding = x
	for i := range m.facts.layers {
		if x, err = m.run(i, n, x, m.arch.layer(&m.facts)); err != nil {
			return nil, fmt.Errorf("reference: layer %d: %w", i, err)
		}
		t.Layers = append(t.Layers, x)
	}
	if t.Hidden, err = m.run(-1, n, x, m.arch.post); err != nil {
		return nil, fmt.Errorf("reference: final norm: %w", err)
	}
	return t, nil
}

// run computes a list of operations on x (n, width).
func (m *Model) run(layer, n int, x []float32, ops []op) ([]float32, error) {
	if len(ops) == 0 {
		return x, nil
	}
	s := newStage(m, layer, n)
	s.put(x, m.facts.width)
	for _, o := range ops {
		o.build(s)
	}
	if s.compute(); s.err != nil {
		return nil, s.err
	}
	return s.values[current].data, nil
}

// embed gathers the tokens' rows and scales them: (n, width).
func (m *Model) embed(tokens []int32) ([]float32, error) {
	if len(tokens) == 0 {
		return nil, errors.New("no tokens")
	}
	var x []float32
	for _, id := range tokens {
		if id < 0 || int(id) >= m.facts.vocab {
			return nil, fmt.Errorf("token %d is not one of %d", id, m.facts.vocab)
		}
		row, err := m.rows("token_embd.weight", m.facts.width, int(id), int(id)+1)
		if err != nil {
			return nil, err
		}
		for _, v := range row {
			x = append(x, v*m.facts.embeddingScale)
		}
	}
	return x, nil
}

// A Pooling makes one vector of a sequence's.
type Pooling string

// The poolings of embedding models.
const (
	Mean Pooling = "mean" // the mean of all tokens
	CLS  Pooling = "cls"  // the first token
	Last Pooling = "last" // the last token
)

// Embed computes the sequence's vector (width), not normalised.
func (m *Model) Embed(tokens []int32, p Pooling) ([]float32, error) {
	t, err := m.trunk(tokens)
	if err != nil {
		return nil, err
	}
	w, h := m.facts.width, t.Hidden
	switch p {
	case CLS:
		return h[:w], nil
	case Last:
		return h[len(h)-w:], nil
	case Mean:
		sum := make([]float64, w)
		for i, v := range h {
			sum[i%w] += float64(v)
		}
		mean := make([]float32, w)
		for i, v := range sum {
			mean[i] = float32(v / float64(len(tokens)))
		}
		return mean, nil
	}
	return nil, fmt.Errorf("reference: pooling %q is %w, only: mean cls last", p, ErrUnsupported)
}
