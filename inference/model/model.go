package model

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"rbee/inference/device"
	"rbee/inference/gguf"
)

// Options say how much room an instance of a model has. Zero values are chosen.
type Options struct {
	ContextLength int    // tokens per sequence; 0: the model's, at most 8192
	Slots         int    // sequences at once; 0: 1
	PageTokens    int    // tokens per page of the KV cache; 0: 32
	MaxBatch      int    // tokens per Step at most; 0: 512
	PageSeed      uint64 // not 0: pages are handed out in an order shuffled by it
}

const (
	defaultContext  = 8192
	defaultPage     = 32
	defaultMaxBatch = 512
)

// Progress tells how far a load is.
type Progress struct {
	LayersLoaded, LayersTotal int
	MemoryBytes               int64
}

// ErrAbandoned says that nobody wants what a step was for.
var ErrAbandoned = errors.New("model: nobody waits for the step")

// A Model is weights and a KV cache on a device. One goroutine uses it at a time.
type Model struct {
	config     Config
	dev        device.Device
	memory     int64
	pageTokens int
	maxBatch   int

	net   network
	norm  device.Norm // before the head
	cache device.Cache
	pages pages
	watch func(layer int, x []float32)

	// Of the step under way; made once, grown when needed.
	batch  []Input
	tokens []int32
	rows   []device.Row
	wanted []int32 // columns whose logits are wanted
	out    [][]float32
	last   device.Buffer // the wanted columns
	logits device.Buffer
	head   [1]device.Projection
}

// Load puts the model in f on dev, which stays the caller's; f must stay open
// as long as the model. progress, if not nil, is called after each layer; a done
// ctx ends the load between layers.
func Load(ctx context.Context, f *gguf.File, dev device.Device, o Options, progress func(Progress)) (*Model, error) {
	c, err := ReadConfig(f)
	if err != nil {
		return nil, err
	}
	if c.ContextLength, err = contextLength(o.ContextLength, c.TrainContext); err != nil {
		return nil, err
	}
	m := &Model{config: c, dev: dev, pageTokens: o.PageTokens, maxBatch: o.MaxBatch}
	if m.pageTokens <= 0 {
		m.pageTokens = defaultPage
	}
	if m.maxBatch <= 0 {
		m.maxBatch = defaultMaxBatch
	}
	if c.encoder { // it sees a text whole
		m.maxBatch = max(m.maxBatch, c.ContextLength)
	}
	l := &loader{f: f, dev: dev, used: map[string]bool{}}
	if c.encoder {
		m.net = newEncoder(l, &m.config, m.maxBatch)
	} else {
		m.net = newDecoder(l, &m.config, m.maxBatch)
	}
	for i := range c.Layers {
		if l.err == nil && ctx.Err() != nil {
			l.err = fmt.Errorf("model: load: %w", context.Cause(ctx))
		}
		if l.err != nil {
			return nil, l.err
		}
		m.net.loadLayer(l, i)
		m.memory = l.bytes
		if progress != nil && l.err == nil {
			progress(Progress{i + 1, c.Layers, m.memory})
		}
	}
	m.net.loadLast(l)
	m.memory = l.bytes
	if err := errors.Join(l.err, l.leftovers()); err != nil {
		return nil, err
	}
	if err := m.makeCache(max(o.Slots, 1), f.HalfCache(), o.PageSeed); err != nil {
		return nil, err
	}
	m.net.attach(m.cache)
	m.norm, m.head[0].W = m.net.last()
	m.grow(1)
	return m, dev.Sync()
}

// contextLength checks what was asked for against what the model can do.
func contextLength(asked, trained int) (int, error) {
	if asked > trained {
		return 0, fmt.Errorf("model: a context of %d tokens is %w: the model was trained for %d", asked, ErrUnsupported, trained)
	}
	if asked <= 0 {
		asked = min(trained, defaultContext)
	}
	return asked, nil
}

// Config is the model's shape, with the context that this instance has.
func (m *Model) Config() Config { return m.config }

// MemoryBytes is what weights and cache take.
func (m *Model) MemoryBytes() int64 { return m.memory }

// MaxBatch is how many tokens a Step takes at most.
func (m *Model) MaxBatch() int { return m.maxBatch }

// Want says of which tokens of an input the logits are wanted.
type Want int

// The wants.
const (
	None Want = iota
	Last
	All
)

// An Input is one sequence's part of a step: tokens that follow what is in the
// cache. A sequence stands in a batch at most once.
type Input struct {
	Seq    *Sequence
	Tokens []int32
	Logits Want
	Done   <-chan struct{} // closed when nobody wants what comes of it; may be nil
}

// Step advances every input's sequence by its tokens, all at once, and returns
// the logits of the wanted tokens, (Config().Vocab) each, in the order of the
// batch. They are valid until the next Step. Nothing has changed when it fails,
// unless the device did. It ends between two layers when ctx is done, and with
// ErrAbandoned when every input's Done is closed. What a sequence's logits are
// depends on its tokens alone.
func (m *Model) Step(ctx context.Context, batch []Input) ([][]float32, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("model: step: %w", context.Cause(ctx))
	}
	if err := m.check(batch); err != nil {
		return nil, err
	}
	if err := m.layOut(batch); err != nil {
		return nil, err
	}
	m.batch = batch
	err := m.net.run(ctx, m.dev, m.tokens, m.rows, m)
	m.batch = nil
	if err != nil {
		return nil, fmt.Errorf("model: step: %w", err)
	}
	out := m.project()
	if err := m.dev.Sync(); err != nil {
		return nil, fmt.Errorf("model: step: %w", err)
	}
	for _, in := range batch {
		in.Seq.len += len(in.Tokens)
	}
	return out, nil
}

// check refuses what a step cannot take, before anything is changed.
func (m *Model) check(batch []Input) error {
	n := 0
	for _, in := range batch {
		if in.Seq == nil || !in.Seq.open || in.Seq.m != m || len(in.Tokens) == 0 {
			return errors.New("model: step: an input without tokens or without an open sequence of this model")
		}
		for _, t := range in.Tokens {
			if t < 0 || int(t) >= m.config.Vocab {
				return fmt.Errorf("model: step: token %d is not in a vocabulary of %d", t, m.config.Vocab)
			}
		}
		if m.config.encoder && in.Seq.len > 0 {
			return fmt.Errorf("model: step: a %s model sees a text whole, in one step", m.config.Architecture)
		}
		if in.Seq.len+len(in.Tokens) > m.config.ContextLength {
			return in.Seq.reserve(len(in.Tokens))
		}
		n += len(in.Tokens)
	}
	if n == 0 || n > m.maxBatch {
		return fmt.Errorf("model: step: %d tokens, want 1 to %d", n, m.maxBatch)
	}
	return nil
}

// layOut makes a column of each token and remembers which columns are wanted.
func (m *Model) layOut(batch []Input) error {
	m.tokens, m.rows, m.wanted = m.tokens[:0], m.rows[:0], m.wanted[:0]
	for _, in := range batch {
		if err := in.Seq.reserve(len(in.Tokens)); err != nil {
			return err
		}
		for i, t := range in.Tokens {
			if in.Logits == All || in.Logits == Last && i == len(in.Tokens)-1 {
				m.wanted = append(m.wanted, int32(len(m.tokens)))
			}
			m.tokens = append(m.tokens, t)
			row := device.Row{Pages: in.Seq.pages, Pos: in.Seq.len + i, Sees: in.Seq.len + i + 1}
			if m.config.encoder {
				row.Sees = in.Seq.len + len(in.Tokens)
			}
			m.rows = append(m.rows, row)
		}
	}
	return nil
}

// project computes the logits of the wanted columns only; of an encoder, which
// has none, nothing.
func (m *Model) project() [][]float32 {
	n, vocab := len(m.wanted), m.config.Vocab
	m.out = m.out[:0]
	if n == 0 || m.head[0].W == nil {
		return m.out
	}
	m.grow(n)
	m.dev.Gather(m.last, m.net.stream(), m.config.Width, m.wanted)
	m.head[0].Dst = m.logits
	m.dev.Project(m.last, n, m.norm, m.head[:]...)
	if c := &m.config; c.logitScale != 0 || c.logitCap != 0 {
		m.dev.Squash(m.logits, n*vocab, cmp.Or(c.logitScale, 1), c.logitCap)
	}
	all := m.dev.Read(m.logits, n*vocab)
	for i := range n {
		m.out = append(m.out, all[i*vocab:][:vocab:vocab])
	}
	return m.out
}

// grow makes room for the logits of n columns.
func (m *Model) grow(n int) {
	if m.last == nil || m.last.Len() < n*m.config.Width {
		m.last = m.dev.Buffer(n * m.config.Width)
	}
	if m.head[0].W != nil && (m.logits == nil || m.logits.Len() < n*m.config.Vocab) {
		m.logits = m.dev.Buffer(n * m.config.Vocab)
	}
}

// Watch has f called in each Step with the residual stream of the whole batch,
// (tokens, Width): of the embedding as layer 0, then after each layer. x is valid
// until f returns. nil ends it.
func (m *Model) Watch(f func(layer int, x []float32)) { m.watch = f }

// between stands before each layer and behind the last: it shows the residual
// stream to whoever watches, and tells whether to go on.
func (m *Model) between(ctx context.Context, layer int) error {
	if m.watch != nil {
		m.watch(layer, m.dev.Read(m.net.stream(), len(m.rows)*m.config.Width))
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, in := range m.batch {
		select {
		case <-in.Done: // never, when it is nil
		default:
			return nil
		}
	}
	return ErrAbandoned
}
