package reference

import (
	"math"

	G "gorgonia.org/gorgonia"
)

// keep gives the current register a second name, to come back to.
type keep struct{ name string }

func (o keep) build(s *stage) { s.set(o.name, s.get(current)) }

// recall makes a kept register the current one.
type recall struct{ name string }

func (o recall) build(s *stage) { s.set(current, s.get(o.name)) }

// add adds a kept register: the residual connection.
type add struct{ name string }

func (o add) build(s *stage) { s.set(current, s.add(s.get(current), s.get(o.name))) }

// scale multiplies by a number.
type scale struct{ by float32 }

func (o scale) build(s *stage) { s.set(current, s.scaled(s.get(current), o.by)) }

// rmsNorm divides each row by the root of its mean square and multiplies by the
// tensor.
type rmsNorm struct{ tensor string }

func (o rmsNorm) build(s *stage) {
	x := s.get(current)
	weight := s.weights(o.tensor+".weight", x.Shape()[1], 0, 1)
	s.set(current, s.times(s.rms(x), s.stack(weight)))
}

// rms divides each row by the root of its mean square.
func (s *stage) rms(x *G.Node) *G.Node {
	return s.divideByRoot(x, s.sum(s.times(x, x)), x.Shape()[1])
}

// divideByRoot divides each row of x by the root of its part of squares (n, 1),
// which are sums over so many values.
func (s *stage) divideByRoot(x, squares *G.Node, values int) *G.Node {
	mean := s.scaled(squares, 1/float32(values))
	root := s.one(G.Sqrt, s.add(mean, G.NewConstant(s.m.facts.eps)))
	return s.over(x, s.spread(root, x.Shape()[1]))
}

// layerNorm does the same about the mean, and adds the bias, when there is one.
type layerNorm struct{ tensor string }

func (o layerNorm) build(s *stage) {
	x := s.get(current)
	cols := x.Shape()[1]
	weight := s.weights(o.tensor+".weight", cols, 0, 1)
	s.set(current, s.bias(s.times(s.rms(s.centred(x)), s.stack(weight)), o.tensor, 0, cols))
}

// centred subtracts each row's mean.
func (s *stage) centred(x *G.Node) *G.Node {
	cols := x.Shape()[1]
	return s.sub(x, s.spread(s.scaled(s.sum(x), 1/float32(cols)), cols))
}

// positions adds the learnt vector of each position.
type positions struct{}

func (positions) build(s *stage) {
	x := s.get(current)
	table := s.weights("position_embd.weight", x.Shape()[1], 0, s.n)
	s.set(current, s.add(x, s.constant(table, x.Shape()[1])))
}

// firstType adds the vector of the first kind of token, when there are kinds.
type firstType struct{}

func (firstType) build(s *stage) {
	if s.has("token_types.weight") {
		x := s.get(current)
		s.set(current, s.add(x, s.stack(s.weights("token_types.weight", x.Shape()[1], 0, 1))))
	}
}

// An activation is what a gated MLP does to the gate's half and to the other,
// whose product goes on. The zero function changes nothing.
type activation struct{ gate, up function }

var (
	swiglu    = activation{gate: silu}
	geglu     = activation{gate: geluTanh}
	swigluOAI = activation{steepSilu, onePlusBounded}
)

func (s *stage) gated(a activation, gate, up *G.Node) *G.Node {
	if a.up.f != nil {
		up = s.apply(a.up, up)
	}
	return s.times(s.apply(a.gate, gate), up)
}

// gatedMLP is down(act(gate(x))·up(x)). Without a gate tensor the rows of the
// gate stand before those of up.
type gatedMLP struct {
	act    activation
	suffix string // of the tensors' names
	weigh  string // a tensor whose product's sigmoid weighs the result
}

func (o gatedMLP) build(s *stage) {
	x := s.get(current)
	up, gate, down := "ffn_up"+o.suffix, "ffn_gate"+o.suffix, "ffn_down"+o.suffix
	n, from := s.m.height(s.name(up+".weight")), 0
	if !s.has(gate + ".weight") {
		gate, n, from = up, n/2, n/2
	}
	h := s.gated(o.act, s.linear(x, gate, 0, n), s.linear(x, up, from, from+n))
	y := s.linear(h, down, 0, s.m.facts.width)
	if o.weigh != "" {
		y = s.times(y, s.spread(s.apply(sigmoid, s.linear(x, o.weigh, 0, 1)), s.m.facts.width))
	}
	s.set(current, y)
}

// plainMLP is down(act(up(x))).
type plainMLP struct{ act function }

func (o plainMLP) build(s *stage) {
	h := s.linear(s.get(current), "ffn_up", 0, s.m.height(s.name("ffn_up.weight")))
	s.set(current, s.linear(s.apply(o.act, h), "ffn_down", 0, s.m.facts.width))
}

// capped is cap·tanh(x/cap).
func (s *stage) capped(x *G.Node, bound float32) *G.Node {
	if bound == 0 {
		return x
	}
	return s.scaled(s.apply(tanh, s.scaled(x, 1/bound)), bound)
}

// softmax makes each row's exponentials add up to 1.
func (s *stage) softmax(x *G.Node) *G.Node {
	rows, cols := x.Shape()[0], x.Shape()[1]
	top := s.one(func(x *G.Node) (*G.Node, error) { return G.Max(x, 1) }, x)
	top = s.one(func(x *G.Node) (*G.Node, error) { return G.Reshape(x, []int{rows, 1}) }, top)
	e := s.apply(exp, s.sub(x, s.spread(top, cols)))
	return s.over(e, s.spread(s.sum(e), cols))
}

// hidden is a score that no query gives weight to.
const hidden = -math.MaxFloat32 / 4
