package kernel

import "rbee/inference/quant"

// Queries is how many queries share one reading of keys or values at most.
const Queries = 4

// Lines are keys or values as a cache keeps them: in float16, or in float32 when Half
// is nil.
type Lines struct {
	Half []uint16
	Full []float32
}

// MakeLines returns n zeros.
func MakeLines(n int, half bool) Lines {
	if half {
		return Lines{Half: make([]uint16, n)}
	}
	return Lines{Full: make([]float32, n)}
}

// Bytes is what they take.
func (l Lines) Bytes() int64 { return 2*int64(len(l.Half)) + 4*int64(len(l.Full)) }

// From returns those from the i-th on.
func (l Lines) From(i int) Lines {
	if l.Half != nil {
		return Lines{Half: l.Half[i:]}
	}
	return Lines{Full: l.Full[i:]}
}

// Set sets those from the i-th on to x, rounded to what they are, ties to even.
func (l Lines) Set(i int, x []float32) {
	if l.Half == nil {
		copy(l.Full[i:][:len(x)], x)
		return
	}
	dst := l.Half[i:][:len(x)]
	for i := toHalf(dst, x); i < len(x); i++ {
		dst[i] = quant.ToHalf(x[i])
	}
}

// Spread is Set for every stride-th.
func (l Lines) Spread(i, stride int, x Lines) {
	for j, v := range x.Half {
		l.Half[i+j*stride] = v
	}
	for j, v := range x.Full {
		l.Full[i+j*stride] = v
	}
}

// one is the i-th.
func (l Lines) one(i int) float32 {
	if l.Half != nil {
		return quant.FromHalf(l.Half[i])
	}
	return l.Full[i]
}

// Scores sets s[j][t] = scale · q[j]·k[t] for n tokens of one page and each of up to
// Queries queries. k is (len(q[j]), stride): the tokens of a page lie side by side.
func Scores(s, q [][]float32, k Lines, stride, n int, scale float32) {
	whole := scores(s, q, k, stride, n&^15, scale)
	for j := range q {
		if whole < n {
			scoresGeneric(s[j][whole:n], q[j], k.From(whole), stride, scale)
		}
	}
}

func scoresGeneric(s, q []float32, k Lines, stride int, scale float32) {
	clear(s)
	for d, v := range q {
		for t := range s {
			s[t] = fma32(v, k.one(d*stride+t), s[t])
		}
	}
	for t := range s {
		s[t] = float32(s[t] * scale)
	}
}

// Values adds Σ p[j][t]·v[t] to out[j], token after token, for each of up to Queries
// queries. v is (len(p[j]), stride), of which the first len(out[j]) dimensions are
// taken.
func Values(out, p [][]float32, v Lines, stride int) {
	from := values(out, p, v, stride)
	for j := range out {
		if from < len(out[j]) {
			valuesGeneric(out[j][from:], p[j], v.From(from), stride)
		}
	}
}

func valuesGeneric(out, p []float32, v Lines, stride int) {
	for t, w := range p {
		for d := range out {
			out[d] = fma32(w, v.one(t*stride+d), out[d])
		}
	}
}
