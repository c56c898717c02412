package model

import (
	"rbee/inference/device"
)

// attention is the first half of a layer: queries, keys and values of the columns,
// attention over the cache, and the matrix that brings it back.
type attention struct {
	norm   device.Norm
	qkv    []device.Projection
	attend device.Attention
	out    device.Sum
}

// state is the buffers that the layers share, (MaxBatch, …) each.
type state struct {
	x            device.Buffer // (n, Width), the residual stream
	q, k, v, att device.Buffer // (n, Heads·HeadSize), (n, KVHeads·HeadSize) twice, as q
	gate, up     device.Buffer // (n, Hidden)
	scores       device.Buffer // (n, experts)
	sw           device.Buffer // (n, 1), of the shared expert
}

func newState(dev device.Device, c *Config, n int) (s state) {
	buffer := func(width int) device.Buffer { return dev.Buffer(n * width) }
	s.x = buffer(c.Width)
	s.q, s.att = buffer(c.Heads*c.HeadSize), buffer(c.Heads*c.HeadSize)
	s.k, s.v = buffer(c.KVHeads*c.HeadSize), buffer(c.KVHeads*c.HeadSize)
	if hidden := max(c.Hidden, c.experts.shared); hidden > 0 && (c.experts.count == 0 || c.experts.shared > 0) {
		s.gate, s.up = buffer(hidden), buffer(hidden)
	}
	if c.experts.count > 0 {
		s.scores, s.sw = buffer(c.experts.count), buffer(1)
	}
	return s
}

// attention reads the attention of layer i, whose tensors begin with prefix.
func (l *loader) attention(c *Config, s *state, r rotations, prefix string, i int) (a attention) {
	queries, keys := c.Heads*c.HeadSize, c.KVHeads*c.HeadSize
	a.qkv = []device.Projection{{Dst: s.q}, {Dst: s.k}, {Dst: s.v}}
	l.queriesKeysValues(a.qkv, c, prefix, queries, keys)
	a.out = device.Sum{W: l.weight(prefix+"attn_output.weight", c.Width, queries), Bias: l.optional(prefix+"attn_output.bias", c.Width), Scale: c.addScale}
	if c.postNorm {
		a.out.Post = l.norm(c, prefix+"post_attention_norm", c.Width)
	}
	a.attend = device.Attention{Layer: i, Heads: c.Heads, Scale: c.scale, Cap: c.scoreCap, Rotate: r.of(c, i)}
	if c.local.layers != nil && c.local.layers[i] {
		a.attend.Window = c.local.window
	}
	if c.sinks {
		a.attend.Sinks = l.buffer(prefix+"attn_sinks.weight", c.Heads)
	}
	l.queryNorms(&a.attend, c, prefix)
	return a
}

// queriesKeysValues reads three matrices, or the one that some files make of them.
func (l *loader) queriesKeysValues(to []device.Projection, c *Config, prefix string, queries, keys int) {
	rows := []int{queries, keys, keys}
	if l.has(prefix + "attn_qkv.weight") {
		for i, w := range l.parts(prefix+"attn_qkv.weight", c.Width, rows...) {
			to[i].W = w
		}
		if l.has(prefix + "attn_qkv.bias") {
			all := l.values(prefix+"attn_qkv.bias", queries+2*keys)
			for i := range to {
				if all != nil {
					to[i].Bias = l.dev.Buffer(rows[i])
					l.dev.Upload(to[i].Bias, all[:rows[i]])
					all = all[rows[i]:]
				}
			}
			return
		}
	} else {
		for i, name := range []string{"attn_q", "attn_k", "attn_v"} {
			to[i].W = l.weight(prefix+name+".weight", rows[i], c.Width)
		}
	}
	for i, name := range []string{"attn_q", "attn_k", "attn_v"} {
		to[i].Bias = l.optional(prefix+name+".bias", rows[i])
	}
}

// queryNorms reads the norms of queries and keys that the architecture has.
func (l *loader) queryNorms(a *device.Attention, c *Config, prefix string) {
	q, k := prefix+"attn_q_norm", prefix+"attn_k_norm"
	switch c.queryNorm {
	case perHead:
		a.QueryNorm, a.KeyNorm = l.norm(c, q, c.HeadSize), l.norm(c, k, c.HeadSize)
	case acrossHeads:
		a.QueryNorm, a.KeyNorm = l.norm(c, q, c.Heads*c.HeadSize), l.norm(c, k, c.KVHeads*c.HeadSize)
		a.Whole = true
	case perHeadWeights:
		if l.has(q + ".weight") {
			a.QueryNorm = l.norm(c, q, c.Heads, c.HeadSize)
		}
		if l.has(k + ".weight") {
			a.KeyNorm = l.norm(c, k, c.KVHeads, c.HeadSize)
		}
	}
}

// rotations are those of the layers that see everything and of the local ones.
type rotations struct{ all, local device.Rotation }

func (l *loader) rotations(c *Config) (r rotations) {
	if c.learnedPlace {
		return r
	}
	r.all = device.Rotation{Turns: l.turns(c.rope, c.ContextLength), Pairs: c.rope.Dims / 2, Split: c.split}
	if c.local.layers != nil {
		r.local = r.all
		if c.local.rope != c.rope {
			r.local.Turns = l.turns(c.local.rope, c.ContextLength)
		}
	}
	return r
}

// of is the rotation of layer i.
func (r rotations) of(c *Config, i int) device.Rotation {
	switch {
	case c.bareEvery > 0 && (i+1)%c.bareEvery == 0:
		return device.Rotation{}
	case c.local.layers != nil && c.local.layers[i]:
		return r.local
	}
	return r.all
}

// run adds the attention of the columns to the residual stream.
func (a *attention) run(dev device.Device, s *state, rows []device.Row) {
	dev.Project(s.x, len(rows), a.norm, a.qkv...)
	a.finish(dev, s, rows)
}

// finish is run behind the projections.
func (a *attention) finish(dev device.Device, s *state, rows []device.Row) {
	dev.Store(&a.attend, s.q, s.k, s.v, rows)
	dev.Attend(s.att, &a.attend, s.q, rows)
	dev.AddProject(s.x, len(rows), s.att, a.out)
}
