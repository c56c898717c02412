package reference

import (
	"fmt"
	"slices"
	"strconv"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// An op is one operation of an architecture's list. It reads and writes the
// registers of a stage, above all the current one.
type op interface{ build(s *stage) }

// current is the register that operations work on; keep names others.
const current = "x"

// A matrix has rows of cols values.
type matrix struct {
	data []float32
	cols int
}

// A stage turns operations into a Gorgonia graph, and computes it when a value is
// asked for; then the next graph begins. A register is a node of the graph under
// way, or a value of one that was computed. All have n rows. The first error
// stays, and what is built after it is not used.
type stage struct {
	m        *Model
	layer, n int

	graph  *G.ExprGraph
	nodes  map[string]*G.Node
	inputs map[*G.Node]matrix // nodes that are values of earlier graphs
	values map[string]matrix
	names  int
	err    error
}

func newStage(m *Model, layer, n int) *stage {
	s := &stage{m: m, layer: layer, n: n, values: map[string]matrix{}}
	s.begin()
	return s
}

func (s *stage) begin() {
	s.graph, s.nodes, s.inputs = G.NewGraph(), map[string]*G.Node{}, map[*G.Node]matrix{}
}

// put sets the current register to a value.
func (s *stage) put(data []float32, cols int) {
	s.values[current] = matrix{data, cols}
	delete(s.nodes, current)
}

// set sets a register to a node.
func (s *stage) set(name string, n *G.Node) { s.nodes[name] = n }

// get returns a register as a node.
func (s *stage) get(name string) *G.Node {
	if n, ok := s.nodes[name]; ok {
		return n
	}
	v, ok := s.values[name]
	if !ok {
		panic("reference: no register " + name)
	}
	n := s.constant(slices.Clone(v.data), v.cols)
	s.nodes[name], s.inputs[n] = n, v
	return n
}

// compute runs the graph: afterwards every register is a value.
func (s *stage) compute() {
	if s.err != nil {
		return
	}
	read := map[*G.Node]*G.Value{}
	for _, n := range s.nodes {
		if _, input := s.inputs[n]; !input && read[n] == nil {
			read[n] = new(G.Value)
			G.Read(n, read[n])
		}
	}
	if len(read) > 0 {
		vm := G.NewTapeMachine(s.graph)
		s.fail(vm.RunAll())
		s.fail(vm.Close())
	}
	for name, n := range s.nodes {
		if v, input := s.inputs[n]; input {
			s.values[name] = v
		} else if s.err == nil {
			s.values[name] = matrix{slices.Clone((*read[n]).Data().([]float32)), n.Shape()[1]}
		}
	}
	s.begin()
}

func (s *stage) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// constant is a node with a value, of rows of cols values.
func (s *stage) constant(data []float32, cols int) *G.Node {
	return s.input(tensor.New(tensor.WithShape(len(data)/cols, cols), tensor.WithBacking(data)))
}

// transposed is a node with the value's columns as rows; nothing is copied.
func (s *stage) transposed(data []float32, cols int) *G.Node {
	t := tensor.New(tensor.WithShape(len(data)/cols, cols), tensor.WithBacking(data))
	s.fail(t.T())
	return s.input(t)
}

// input adds a value under a name of its own: Gorgonia takes inputs of one name
// for one node.
func (s *stage) input(t *tensor.Dense) *G.Node {
	s.names++
	return G.NodeFromAny(s.graph, t, G.WithName("v"+strconv.Itoa(s.names)))
}

// one and two apply an operation of Gorgonia, unless something failed before.
func (s *stage) one(f func(*G.Node) (*G.Node, error), a *G.Node) *G.Node {
	if s.err != nil {
		return a
	}
	n, err := f(a)
	if err != nil {
		s.fail(fmt.Errorf("graph: %w", err))
		return a
	}
	return n
}

func (s *stage) two(f func(a, b *G.Node) (*G.Node, error), a, b *G.Node) *G.Node {
	return s.one(func(a *G.Node) (*G.Node, error) { return f(a, b) }, a)
}

func (s *stage) add(a, b *G.Node) *G.Node   { return s.two(G.Add, a, b) }
func (s *stage) sub(a, b *G.Node) *G.Node   { return s.two(G.Sub, a, b) }
func (s *stage) times(a, b *G.Node) *G.Node { return s.two(G.HadamardProd, a, b) }
func (s *stage) over(a, b *G.Node) *G.Node  { return s.two(G.HadamardDiv, a, b) }
func (s *stage) mul(a, b *G.Node) *G.Node   { return s.two(G.Mul, a, b) }

// scaled multiplies by a number.
func (s *stage) scaled(a *G.Node, by float32) *G.Node {
	if by == 1 {
		return a
	}
	return s.times(a, G.NewConstant(by))
}

// sum adds up each row: (n, cols) to (n, 1).
func (s *stage) sum(a *G.Node) *G.Node {
	return s.mul(a, s.constant(ones(a.Shape()[1]), 1))
}

// spread repeats a column: (n, 1) to (n, cols).
func (s *stage) spread(a *G.Node, cols int) *G.Node {
	return s.mul(a, s.constant(ones(cols), cols))
}

// stack repeats a row: (cols) to (n, cols).
func (s *stage) stack(row []float32) *G.Node {
	return s.mul(s.constant(ones(s.n), 1), s.constant(row, len(row)))
}

func ones(n int) []float32 { return slices.Repeat([]float32{1}, n) }

// name is the file's name of a tensor: of this layer, where there is one.
func (s *stage) name(tensor string) string {
	if s.layer < 0 {
		return tensor
	}
	return fmt.Sprintf("blk.%d.%s", s.layer, tensor)
}

// has tells whether the file has the tensor.
func (s *stage) has(tensor string) bool { return s.m.height(s.name(tensor)) > 0 }

// weights reads rows of a tensor; what it returns after an error is one of zeros.
func (s *stage) weights(tensor string, in, from, to int) []float32 {
	x, err := s.m.rows(s.name(tensor), in, from, to)
	if err != nil {
		s.fail(err)
		return make([]float32, in)
	}
	return x
}

// linear computes x·Wᵀ with the rows of W from up to to, and adds that part of
// the bias, when the file has one.
func (s *stage) linear(x *G.Node, tensor string, from, to int) *G.Node {
	if s.err != nil {
		return x
	}
	in := x.Shape()[1]
	y := s.mul(x, s.transposed(s.weights(tensor+".weight", in, from, to), in))
	return s.bias(y, tensor, from, to)
}

// bias adds a part of a bias to every row, when the file has one.
func (s *stage) bias(y *G.Node, tensor string, from, to int) *G.Node {
	t, ok := s.m.f.Tensor(s.name(tensor + ".bias"))
	if !ok || s.err != nil {
		return y
	}
	if t.Elements() < int64(to) {
		s.fail(fmt.Errorf("%s has %d values, fewer than %d", t.Name, t.Elements(), to))
		return y
	}
	all := s.weights(tensor+".bias", int(t.Dims[0]), 0, s.m.height(t.Name))
	if s.err != nil {
		return y
	}
	return s.add(y, s.stack(all[from:to:to]))
}
