package model

import (
	"fmt"
	"math"

	"rbee/inference/device"
)

// llama is the decoder of Llama 1 to 3, TinyLlama, Mistral and their kin:
//
//	x = embed(tokens)
//	per layer: x += O · attention(rope(Q·norm(x)), rope(K·norm(x)), V·norm(x))
//	           x += Down · (silu(Gate·norm(x)) · (Up·norm(x)))
//	logits = Head · norm(x)
//
// (Touvron et al. 2023; GQA: Ainslie et al. 2023.) All buffers are (MaxBatch, …).
type llama struct {
	c      Config
	table  device.Table
	norm   device.Norm
	head   device.Weight
	layers []layer

	x            device.Buffer // (n, Width), the residual stream
	q, k, v, att device.Buffer // (n, Heads·HeadSize), (n, KVHeads·HeadSize) twice, as q
	gate, up     device.Buffer // (n, Hidden)
}

type layer struct {
	attNorm, mlpNorm device.Norm
	qkv, gateUp      []device.Projection
	o, down          device.Weight
	att              device.Attention
}

// newLlama reads what stands outside the layers. Without output.weight the
// embedding is the head, too.
func newLlama(l *loader, c Config, maxBatch int) *llama {
	n := &llama{c: c, layers: make([]layer, c.Layers)}
	n.table = l.table("token_embd.weight", c.Vocab, c.Width)
	n.norm = l.norm("output_norm.weight", c.Width, c.Eps)
	head := "output.weight"
	if _, ok := l.f.Tensor(head); !ok {
		head = "token_embd.weight"
	}
	n.head = l.weight(head, c.Vocab, c.Width)
	buffer := func(width int) device.Buffer { return l.dev.Buffer(maxBatch * width) }
	n.x, n.q, n.att = buffer(c.Width), buffer(c.Heads*c.HeadSize), buffer(c.Heads*c.HeadSize)
	n.k, n.v = buffer(c.KVHeads*c.HeadSize), buffer(c.KVHeads*c.HeadSize)
	n.gate, n.up = buffer(c.Hidden), buffer(c.Hidden)
	return n
}

// loadLayer reads layer i and returns the bytes of its weights.
func (n *llama) loadLayer(l *loader, i int) (bytes int64) {
	c, y := n.c, &n.layers[i]
	name := func(part string) string { return fmt.Sprintf("blk.%d.%s.weight", i, part) }
	weight := func(part string, rows, cols int) device.Weight {
		w := l.weight(name(part), rows, cols)
		if w != nil {
			bytes += w.Bytes()
		}
		return w
	}
	queries, keys := c.Heads*c.HeadSize, c.KVHeads*c.HeadSize
	y.attNorm = l.norm(name("attn_norm"), c.Width, c.Eps)
	y.qkv = []device.Projection{
		{W: weight("attn_q", queries, c.Width), Dst: n.q},
		{W: weight("attn_k", keys, c.Width), Dst: n.k},
		{W: weight("attn_v", keys, c.Width), Dst: n.v},
	}
	y.o = weight("attn_output", c.Width, queries)
	y.mlpNorm = l.norm(name("ffn_norm"), c.Width, c.Eps)
	y.gateUp = []device.Projection{
		{W: weight("ffn_gate", c.Hidden, c.Width), Dst: n.gate},
		{W: weight("ffn_up", c.Hidden, c.Width), Dst: n.up},
	}
	y.down = weight("ffn_down", c.Width, c.Hidden)
	return bytes
}

// attach gives the layers their cache.
func (n *llama) attach(cache device.Cache) {
	for i := range n.layers {
		n.layers[i].att = device.Attention{
			Cache: cache, Layer: i, Heads: n.c.Heads,
			Scale: float32(1 / math.Sqrt(float64(n.c.HeadSize))),
		}
	}
}

// run computes the residual stream after the last layer for all columns.
func (n *llama) run(dev device.Device, tokens []int32, rows []device.Row, turns device.Buffer) {
	dev.Embed(n.x, n.table, tokens)
	for i := range n.layers {
		y := &n.layers[i]
		dev.Project(n.x, len(rows), y.attNorm, y.qkv...)
		dev.Store(y.att, n.q, n.k, n.v, turns, n.c.Rope.Dims/2, rows)
		dev.Attend(n.att, y.att, n.q, rows)
		dev.AddProject(n.x, len(rows), n.att, y.o)
		dev.Project(n.x, len(rows), y.mlpNorm, y.gateUp...)
		dev.AddGated(n.x, len(rows), n.gate, n.up, y.down)
	}
}
