//go:build (amd64 || arm64) && !purego

package kernel

import "unsafe"

// scores does n tokens, a multiple of 16, and returns how many it did.
func scores(s, q [][]float32, k Lines, stride, n int, scale float32) int {
	if n == 0 || len(q[0]) == 0 || !vectors() {
		return 0
	}
	dim := len(q[0])
	at, size := k.span((dim-1)*stride + n)
	var to, of [Queries]*float32
	spread(&to, s, n)
	spread(&of, q, dim)
	if size == 2 {
		scoresHalfVector(&to, &of, at, dim, 2*stride, n, scale, len(q))
	} else {
		scoresFullVector(&to, &of, at, dim, 4*stride, n, scale, len(q))
	}
	return n
}

// values does as many dimensions as registers hold whole and returns how many.
func values(out, p [][]float32, v Lines, stride int) int {
	tokens, n := len(p[0]), len(out[0])&^15
	if n == 0 || tokens == 0 || !vectors() {
		return 0
	}
	at, size := v.span((tokens-1)*stride + n)
	var to, of [Queries]*float32
	spread(&to, out, n)
	spread(&of, p, tokens)
	if size == 2 {
		valuesHalfVector(&to, &of, at, tokens, 2*stride, n, len(p))
	} else {
		valuesFullVector(&to, &of, at, tokens, 4*stride, n, len(p))
	}
	return n
}

// span returns where the lines begin and the bytes of one, after a look at their
// number.
func (l Lines) span(n int) (*byte, int) {
	if l.Half != nil {
		return (*byte)(unsafe.Pointer(&l.Half[:n][0])), 2
	}
	return (*byte)(unsafe.Pointer(&l.Full[:n][0])), 4
}

// spread sets p to where each of x begins, after a look at their length. The last
// stands for those that are missing: it is then computed more than once.
func spread(p *[Queries]*float32, x [][]float32, n int) {
	for i := range p {
		p[i] = &x[min(i, len(x)-1)][:n][0]
	}
}
