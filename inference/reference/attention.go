package reference

import (
	"slices"

	G "gorgonia.org/gorgonia"
)

// A headNorm is what is done to queries and keys before rope.
type headNorm int

const (
	noHeadNorm   headNorm = iota
	rmsPerHead            // each head by itself, one weight for all
	rmsAllHeads           // all heads as one row
	layerPerHead          // each head by itself, with its own weight; only where the file has it
)

// attention is multi-head attention, from the normed residual stream to the
// output projection. Biases, fused projections, the window, soft cap and scale
// are the file's.
type attention struct {
	pairing pairing
	norm    headNorm
	sinks   bool // a learnt score per head that takes weight and gives nothing
	skip    int  // every skip-th layer has no rope; 0: all have
}

func (o attention) build(s *stage) {
	h := &s.m.facts
	heads, kv := h.heads[max(s.layer, 0)], h.kvHeads[max(s.layer, 0)]
	x := s.get(current)
	q := s.heads(x, "q", heads, h.keySize, 0)
	k := s.heads(x, "k", kv, h.keySize, heads*h.keySize)
	v := s.heads(x, "v", kv, h.valueSize, (heads+kv)*h.keySize)
	if s.err != nil {
		return
	}
	o.normalise(s, q, "attn_q_norm")
	o.normalise(s, k, "attn_k_norm")
	if o.pairing != unturned && (o.skip == 0 || (s.layer+1)%o.skip != 0) {
		s.turn(o.pairing, slices.Concat(q, k), func(i int, n *G.Node) {
			if i < heads {
				q[i] = n
			} else {
				k[i-heads] = n
			}
		})
	}
	s.set(current, o.output(s, q, k, v))
}

// heads projects x to one matrix (n, size) per head. Where the file has queries,
// keys and values in one tensor, this one's begin at the row fused.
func (s *stage) heads(x *G.Node, which string, count, size, fused int) []*G.Node {
	tensor := "attn_" + which
	if s.has("attn_qkv.weight") {
		tensor = "attn_qkv"
	} else {
		fused = 0
	}
	all := make([]*G.Node, count)
	for i := range all {
		all[i] = s.linear(x, tensor, fused+i*size, fused+(i+1)*size)
	}
	return all
}

// normalise replaces the heads by their normed ones.
func (o attention) normalise(s *stage, heads []*G.Node, tensor string) {
	size := s.m.facts.keySize
	switch o.norm {
	case rmsPerHead:
		weight := s.stack(s.weights(tensor+".weight", size, 0, 1))
		for i, x := range heads {
			heads[i] = s.times(s.rms(x), weight)
		}
	case rmsAllHeads:
		all := size * len(heads)
		weight := s.weights(tensor+".weight", all, 0, 1)
		squares := s.sum(s.times(heads[0], heads[0]))
		for _, x := range heads[1:] {
			squares = s.add(squares, s.sum(s.times(x, x)))
		}
		for i, x := range heads {
			heads[i] = s.times(s.divideByRoot(x, squares, all), s.stack(weight[i*size:][:size:size]))
		}
	case layerPerHead:
		if !s.has(tensor + ".weight") {
			return
		}
		for i, x := range heads {
			heads[i] = s.times(s.rms(s.centred(x)), s.stack(s.weights(tensor+".weight", size, i, i+1)))
		}
	}
}

// turn applies rope to heads and hands each to set.
func (s *stage) turn(p pairing, heads []*G.Node, set func(i int, n *G.Node)) {
	h := &s.m.facts
	r := &h.rope
	if h.narrow(s.layer) {
		r = &h.swa
	}
	c, si, sw := r.tables(p, s.n, h.keySize, max(s.n, s.m.Context))
	cos, sin, swap := s.constant(c, h.keySize), s.constant(si, h.keySize), s.constant(sw, h.keySize)
	for i, x := range heads {
		set(i, s.add(s.times(x, cos), s.times(s.mul(x, swap), sin)))
	}
}

// output attends, head by head, and adds up the heads' parts of the projection.
func (o attention) output(s *stage, q, k, v []*G.Node) *G.Node {
	h := &s.m.facts
	all := h.valueSize * len(q)
	weight := s.weights("attn_output.weight", all, 0, h.width)
	masks := o.masks(s, len(q))
	if s.err != nil {
		return q[0]
	}
	var sum *G.Node
	for i := range q {
		group := i / (len(q) / len(k))
		keys, values := k[group], v[group]
		if o.sinks { // one more key and value, both 0: its score is the mask's
			more := s.constant(identity(s.n+1, s.n), s.n)
			keys, values = s.mul(more, keys), s.mul(more, values)
		}
		across := s.one(func(x *G.Node) (*G.Node, error) { return G.Transpose(x, 1, 0) }, keys)
		scores := s.capped(s.scaled(s.mul(q[i], across), h.attentionScale), h.attentionCap)
		mixed := s.mul(s.softmax(s.add(scores, masks[i])), values)
		part := columns(weight, all, i*h.valueSize, (i+1)*h.valueSize)
		y := s.mul(mixed, s.transposed(part, h.valueSize))
		if sum == nil {
			sum = y
		} else {
			sum = s.add(sum, y)
		}
	}
	return s.bias(sum, "attn_output", 0, h.width)
}

// masks returns what is added to each head's scores: (n, keys).
func (o attention) masks(s *stage, heads int) []*G.Node {
	all := make([]*G.Node, heads)
	if !o.sinks {
		one := s.constant(s.mask(0, false), s.n)
		for i := range all {
			all[i] = one
		}
		return all
	}
	sinks := s.weights("attn_sinks.weight", heads, 0, 1)
	for i := range all {
		all[i] = s.constant(s.mask(sinks[i], true), s.n+1)
	}
	return all
}

// mask hides what a query must not see; with a sink, its score is the last column.
func (s *stage) mask(sink float32, sunk bool) []float32 {
	h := &s.m.facts
	var all []float32
	for at := range s.n {
		for key := range s.n {
			behind := at - key
			if behind < 0 && h.causal || h.narrow(s.layer) && behind >= h.window {
				all = append(all, hidden)
			} else {
				all = append(all, 0)
			}
		}
		if sunk {
			all = append(all, sink)
		}
	}
	return all
}

// identity is a matrix with ones where row and column are the same.
func identity(rows, cols int) []float32 {
	x := make([]float32, rows*cols)
	for i := range min(rows, cols) {
		x[i*cols+i] = 1
	}
	return x
}
