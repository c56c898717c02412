package model

import (
	"context"
	"fmt"

	"rbee/inference/device"
)

// An encoder sees the whole text, which must be in one step:
//
//	x = norm(embed(tokens) + kind + place)
//	per layer: x = norm(x + attention(x))
//	           x = norm(x + mlp(x))
type encoder struct {
	c      *Config
	state  state
	turns  rotations
	table  device.Table
	kinds  device.Table // of which all tokens have the first; may be nil
	places device.Table // of which each position has its own; may be nil
	norm   device.Norm
	layers []encoderLayer
	kind   []int32 // zeros
	place  []int32
}

type encoderLayer struct {
	attention attention
	mlp       mlp
	attNorm   device.Norm
	mlpNorm   device.Norm
}

func newEncoder(l *loader, c *Config, maxBatch int) *encoder {
	n := &encoder{c: c, state: newState(l.dev, c, maxBatch), layers: make([]encoderLayer, c.Layers)}
	n.table = l.table("token_embd.weight", c.Vocab, c.Width)
	if t, ok := l.f.Tensor("token_types.weight"); ok && len(t.Dims) == 2 {
		n.kinds = l.table("token_types.weight", int(min(t.Dims[1], maxVocab)), c.Width)
	} else if ok { // a file with one kind may have dropped the dimension
		n.kinds = l.table("token_types.weight", 1, c.Width)
	}
	if c.learnedPlace {
		n.places = l.table("position_embd.weight", c.TrainContext, c.Width)
	}
	n.norm = l.norm(c, "token_embd_norm", c.Width)
	n.turns = l.rotations(c)
	n.kind, n.place = make([]int32, maxBatch), make([]int32, maxBatch)
	return n
}

func (n *encoder) loadLayer(l *loader, i int) {
	c, y, prefix := n.c, &n.layers[i], fmt.Sprintf("blk.%d.", i)
	y.attention = l.attention(c, &n.state, n.turns, prefix, i)
	y.mlp = l.mlp(c, &n.state, prefix)
	y.attNorm = l.norm(c, prefix+"attn_output_norm", c.Width)
	y.mlpNorm = l.norm(c, prefix+"layer_output_norm", c.Width)
}

func (n *encoder) loadLast(*loader) {}

func (n *encoder) attach(cache device.Cache) {
	for i := range n.layers {
		n.layers[i].attention.attend.Cache = cache
	}
}

func (n *encoder) stream() device.Buffer { return n.state.x }

func (n *encoder) last() (device.Norm, device.Weight) { return device.Norm{}, nil }

func (n *encoder) run(ctx context.Context, dev device.Device, tokens []int32, rows []device.Row, p pauser) error {
	s := &n.state
	dev.Embed(s.x, n.table, tokens, 1)
	if n.kinds != nil {
		dev.AddEmbed(s.x, n.kinds, n.kind[:len(tokens)])
	}
	if n.places != nil {
		for i, r := range rows {
			n.place[i] = int32(r.Pos)
		}
		dev.AddEmbed(s.x, n.places, n.place[:len(tokens)])
	}
	dev.Normalize(s.x, len(rows), n.norm)
	if err := p.between(ctx, 0); err != nil {
		return err
	}
	for i := range n.layers {
		y := &n.layers[i]
		y.attention.run(dev, s, rows)
		dev.Normalize(s.x, len(rows), y.attNorm)
		y.mlp.run(dev, s, len(rows))
		dev.Normalize(s.x, len(rows), y.mlpNorm)
		if err := p.between(ctx, i+1); err != nil {
			return err
		}
	}
	return nil
}
