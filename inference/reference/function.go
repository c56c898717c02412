package reference

import (
	"fmt"
	"hash"
	"hash/fnv"
	"math"

	"github.com/chewxy/hm"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// A function is an operation of a graph that changes every value by itself,
// computed in float64 and rounded once.
type function struct {
	name string
	f    func(float64) float64
}

var (
	exp      = function{"exp", math.Exp}
	tanh     = function{"tanh", math.Tanh}
	sigmoid  = function{"sigmoid", func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }}
	silu     = function{"silu", func(x float64) float64 { return x / (1 + math.Exp(-x)) }}
	geluErf  = function{"gelu by erf", func(x float64) float64 { return x / 2 * (1 + math.Erf(x/math.Sqrt2)) }}
	geluTanh = function{"gelu by tanh", func(x float64) float64 {
		return x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	}}

	// gpt-oss: silu with a steeper sigmoid and both halves bounded by 7.
	steepSilu = function{"steep silu", func(x float64) float64 {
		x = min(x, 7)
		return x / (1 + math.Exp(-1.702*x))
	}}
	onePlusBounded = function{"one plus bounded", func(x float64) float64 { return 1 + min(max(x, -7), 7) }}
)

// apply adds the function to the graph.
func (s *stage) apply(f function, x *G.Node) *G.Node {
	return s.one(func(x *G.Node) (*G.Node, error) { return G.ApplyOp(f, x) }, x)
}

// Do computes the values.
func (f function) Do(in ...G.Value) (G.Value, error) {
	t, ok := in[0].(*tensor.Dense)
	if !ok || t.RequiresIterator() {
		return nil, fmt.Errorf("%s of %T", f.name, in[0])
	}
	x := t.Data().([]float32)
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = float32(f.f(float64(v)))
	}
	return tensor.New(tensor.WithShape(t.Shape().Clone()...), tensor.WithBacking(y)), nil
}

// InferShape says that the result has the shape of the input.
func (f function) InferShape(in ...G.DimSizer) (tensor.Shape, error) {
	shape, ok := in[0].(tensor.Shape)
	if !ok {
		return nil, fmt.Errorf("%s of %T", f.name, in[0])
	}
	return shape.Clone(), nil
}

// Type says that the result has the type of the input.
func (f function) Type() hm.Type {
	a := hm.TypeVariable('a')
	return hm.NewFnType(a, a)
}

// The rest of Gorgonia's interface for operations.

func (f function) Arity() int           { return 1 }
func (f function) ReturnsPtr() bool     { return false }
func (f function) CallsExtern() bool    { return false }
func (f function) OverwritesInput() int { return -1 }
func (f function) String() string       { return f.name }

// WriteHash tells this function from others.
func (f function) WriteHash(h hash.Hash) { _, _ = fmt.Fprint(h, f.name) }

// Hashcode tells this function from others.
func (f function) Hashcode() uint32 {
	h := fnv.New32a()
	f.WriteHash(h)
	return h.Sum32()
}
