package model

import (
	"context"
	"fmt"

	"rbee/inference/device"
)

// A network computes the residual stream after the last layer.
type network interface {
	// run computes it for all columns of a step, unless a pause between layers ends it.
	run(ctx context.Context, dev device.Device, tokens []int32, rows []device.Row, p pauser) error
	// loadLayer reads layer i, loadLast what stands behind the layers.
	loadLayer(l *loader, i int)
	loadLast(l *loader)
	// attach gives the layers their cache.
	attach(cache device.Cache)
	// stream is the residual stream, (MaxBatch, Width).
	stream() device.Buffer
	// last is the norm before the head, and the head, nil when there is none.
	last() (device.Norm, device.Weight)
}

// A pauser is asked between layers, with the number of those that are done, whether
// to go on.
type pauser interface {
	between(ctx context.Context, layer int) error
}

// A decoder sees what came before:
//
//	x = embed(tokens)
//	per layer: x += attention(norm(x))
//	           x += mlp(norm(x))
//	logits = Head · norm(x)
type decoder struct {
	c      *Config
	state  state
	turns  rotations
	table  device.Table
	norm   device.Norm
	head   device.Weight
	layers []layer
}

type layer struct {
	attention attention
	mlp       mlp
	parallel  bool // the MLP takes what the attention takes (StableLM 2 12B)
}

// newDecoder reads what stands before the layers.
func newDecoder(l *loader, c *Config, maxBatch int) *decoder {
	n := &decoder{c: c, state: newState(l.dev, c, maxBatch), layers: make([]layer, c.Layers)}
	n.table = l.table("token_embd.weight", c.Vocab, c.Width)
	n.turns = l.rotations(c)
	return n
}

// loadLast reads what stands behind the layers. Without output.weight the embedding is
// the head, too.
func (n *decoder) loadLast(l *loader) {
	n.norm = l.norm(n.c, "output_norm", n.c.Width)
	head := "output.weight"
	if !l.has(head) {
		head = "token_embd.weight"
	}
	n.head = l.soon(head, n.c.Vocab, n.c.Width)
}

func (n *decoder) loadLayer(l *loader, i int) {
	c, y, prefix := n.c, &n.layers[i], fmt.Sprintf("blk.%d.", i)
	y.attention = l.attention(c, &n.state, n.turns, prefix, i)
	y.mlp = l.mlp(c, &n.state, prefix)
	if c.normless {
		return
	}
	y.attention.norm = l.norm(c, prefix+"attn_norm", c.Width)
	if y.parallel = c.queryNorm == perHeadWeights && !l.has(prefix+c.mlpNorm+".weight"); !y.parallel {
		y.mlp.norm = l.norm(c, prefix+c.mlpNorm, c.Width)
	}
}

func (n *decoder) attach(cache device.Cache) {
	for i := range n.layers {
		n.layers[i].attention.attend.Cache = cache
	}
}

func (n *decoder) stream() device.Buffer { return n.state.x }

func (n *decoder) last() (device.Norm, device.Weight) { return n.norm, n.head }

func (n *decoder) run(ctx context.Context, dev device.Device, tokens []int32, rows []device.Row, p pauser) error {
	scale := n.c.embedScale
	if scale == 0 {
		scale = 1
	}
	dev.Embed(n.state.x, n.table, tokens, scale)
	if err := p.between(ctx, 0); err != nil {
		return err
	}
	for i := range n.layers {
		n.layers[i].run(dev, &n.state, rows)
		if err := p.between(ctx, i+1); err != nil {
			return err
		}
	}
	return nil
}

func (y *layer) run(dev device.Device, s *state, rows []device.Row) {
	if y.parallel {
		y.mlp.begin(dev, s, len(rows), y.attention.norm)
		y.attention.run(dev, s, rows)
		y.mlp.finish(dev, s, len(rows))
		return
	}
	y.attention.run(dev, s, rows)
	y.mlp.run(dev, s, len(rows))
}
