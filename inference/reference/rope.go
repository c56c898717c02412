package reference

import (
	"math"

	"rbee/inference/gguf"
)

// A rope turns pair i of a head by position·base^(−2i/dims)/factors[i], scaled.
type rope struct {
	dims    int // of a head that turn; the others stay
	base    float64
	scale   float64   // of all angles (linear), or of the slow ones (yarn)
	yarn    bool      // blend: fast pairs keep their angle, slow ones are scaled
	trained int       // positions the model knew before it was stretched
	factors []float32 // per pair; nil: all 1
	long    []float32 // the factors beyond trained positions (longrope)
	size    float64   // what cosines and sines are multiplied by, beside yarn's share
}

// Yarn's bounds: a pair that turns more often than fast in the trained positions
// keeps its angle, one that turns less often than slow is scaled. llama.cpp does
// not read others from these architectures' files.
const fastTurns, slowTurns = 32, 1

func (h *facts) readRope(m *metadata) {
	r := rope{
		dims: m.count("rope.dimension_count", h.keySize, h.keySize),
		base: m.number("rope.freq_base", 10000), scale: 1, size: m.number("rope.scaling.attn_factor", 1),
	}
	if r.dims%2 != 0 {
		m.fail("rope.dimension_count", "%d is odd", r.dims)
	}
	if !(r.base > 0) {
		m.fail("rope.freq_base", "is not positive")
	}
	r.trained = m.count("rope.scaling.original_context_length", 1<<30, m.count("context_length", 1<<30, 1))
	factor := m.number("rope.scaling.factor", m.number("rope.scale_linear", 0))
	kind, _ := m.f.String(m.prefix + "rope.scaling.type")
	switch kind {
	case "", "linear", "longrope", "yarn":
		if factor != 0 {
			r.scale = 1 / factor
		}
	case "none":
	default:
		m.fail("rope.scaling.type", "%q is none of none linear yarn longrope", kind)
	}
	r.yarn = kind == "yarn"
	r.readFactors(m)
	h.rope, h.swa = r, r
}

// readFactors reads the divisors of the angles that are tensors.
func (r *rope) readFactors(m *metadata) {
	read := func(name string) []float32 {
		if _, ok := m.f.Tensor(name); !ok || m.err != nil {
			return nil
		}
		x, err := vector(m.f, name, r.dims/2)
		if err != nil {
			m.err = err
		}
		return x
	}
	if r.factors = read("rope_freqs.weight"); r.factors != nil {
		return
	}
	r.factors, r.long = read("rope_factors_short.weight"), read("rope_factors_long.weight")
}

// angle returns by how much pair i turns at each position, in sequences of up to n.
func (r *rope) angle(i, n int) float64 {
	a := math.Pow(r.base, -2*float64(i)/float64(r.dims))
	factors := r.factors
	if r.long != nil && n > r.trained {
		factors = r.long
	}
	if factors != nil {
		a /= float64(factors[i])
	}
	if !r.yarn {
		return a * r.scale
	}
	low := max(0, math.Floor(r.turning(fastTurns)))
	high := min(float64(r.dims-1), math.Ceil(r.turning(slowTurns)))
	slow := min(1, max(0, (float64(i)-low)/max(0.001, high-low)))
	return a*r.scale*slow + a*(1-slow)
}

// magnitude is what cosines and sines are multiplied by: yarn makes up for the
// scores that stretched positions flatten.
func (r *rope) magnitude() float64 {
	if r.yarn && r.scale < 1 {
		return r.size * (1 - 0.1*math.Log(r.scale))
	}
	return r.size
}

// turning is the pair that turns so many times in the trained positions.
func (r *rope) turning(times float64) float64 {
	return float64(r.dims) * math.Log(float64(r.trained)/(times*2*math.Pi)) / (2 * math.Log(r.base))
}

// A pairing says which two values of a head turn together.
type pairing int

const (
	unturned   pairing = iota // no rope at all
	neighbours                // 2i and 2i+1
	halves                    // i and i+dims/2
)

func (p pairing) at(i, dims int) (a, b int) {
	if p == neighbours {
		return 2 * i, 2*i + 1
	}
	return i, i + dims/2
}

// tables returns what turns the rows of q (n, size) as q∘cos + (q·swap)∘sin:
// cos, sin (n, size), swap (size, size), which swaps each pair and negates one.
// span is the length the sequence may reach.
func (r *rope) tables(p pairing, n, size, span int) (cos, sin, swap []float32) {
	cos, sin, swap = make([]float32, n*size), make([]float32, n*size), make([]float32, size*size)
	for i := range cos {
		cos[i] = 1
	}
	magnitude := r.magnitude()
	for i := range r.dims / 2 {
		a, b := p.at(i, r.dims)
		swap[b*size+a], swap[a*size+b] = -1, 1
		angle := r.angle(i, span)
		for pos := range n {
			s, c := math.Sincos(float64(pos) * angle)
			at := pos * size
			cos[at+a], cos[at+b] = float32(c*magnitude), float32(c*magnitude)
			sin[at+a], sin[at+b] = float32(s*magnitude), float32(s*magnitude)
		}
	}
	return cos, sin, swap
}

// vector reads a whole tensor of n values in one row.
func vector(f *gguf.File, name string, n int) ([]float32, error) {
	m := Model{f: f}
	return m.rows(name, n, 0, 1)
}
