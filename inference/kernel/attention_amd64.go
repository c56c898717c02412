//go:build !purego

package kernel

import "unsafe"

// scores does n tokens, a multiple of 16, and returns how many it did.
func scores(s, q [][]float32, k Lines, stride, n int, scale float32) int {
	if n == 0 || len(q[0]) == 0 || !avx512.on && !avx2.on {
		return 0
	}
	dim := len(q[0])
	at, size := k.span((dim-1)*stride + n)
	var to, of [Queries]*float32
	spread(&to, s, n)
	spread(&of, q, dim)
	if size == 2 {
		scoresHalf(&to, &of, at, len(q), dim, 2*stride, n, scale)
	} else {
		scoresFull(&to, &of, at, len(q), dim, 4*stride, n, scale)
	}
	return n
}

// values does as many dimensions as registers hold whole and returns how many.
func values(out, p [][]float32, v Lines, stride int) int {
	tokens, n := len(p[0]), len(out[0])&^15
	if n == 0 || tokens == 0 || !avx512.on && !avx2.on {
		return 0
	}
	at, size := v.span((tokens-1)*stride + n)
	var to, of [Queries]*float32
	spread(&to, out, n)
	spread(&of, p, tokens)
	if size == 2 {
		valuesHalf(&to, &of, at, len(p), tokens, 2*stride, n)
	} else {
		valuesFull(&to, &of, at, len(p), tokens, 4*stride, n)
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

func scoresHalf(s, q *[Queries]*float32, k *byte, queries, dim, stride, n int, scale float32) {
	switch {
	case avx512.on && queries == 1:
		scoresHalfAVX512x1(s, q, k, dim, stride, n, scale)
	case avx512.on && queries == 2:
		scoresHalfAVX512x2(s, q, k, dim, stride, n, scale)
	case avx512.on:
		scoresHalfAVX512x4(s, q, k, dim, stride, n, scale)
	case queries == 1:
		scoresHalfAVX2x1(s, q, k, dim, stride, n, scale)
	case queries == 2:
		scoresHalfAVX2x2(s, q, k, dim, stride, n, scale)
	default:
		scoresHalfAVX2x4(s, q, k, dim, stride, n, scale)
	}
}

func valuesHalf(out, p *[Queries]*float32, v *byte, queries, tokens, stride, n int) {
	switch {
	case avx512.on && queries == 1:
		valuesHalfAVX512x1(out, p, v, tokens, stride, n)
	case avx512.on && queries == 2:
		valuesHalfAVX512x2(out, p, v, tokens, stride, n)
	case avx512.on:
		valuesHalfAVX512x4(out, p, v, tokens, stride, n)
	case queries == 1:
		valuesHalfAVX2x1(out, p, v, tokens, stride, n)
	case queries == 2:
		valuesHalfAVX2x2(out, p, v, tokens, stride, n)
	default:
		valuesHalfAVX2x4(out, p, v, tokens, stride, n)
	}
}

func scoresFull(s, q *[Queries]*float32, k *byte, queries, dim, stride, n int, scale float32) {
	switch {
	case avx512.on && queries == 1:
		scoresFullAVX512x1(s, q, k, dim, stride, n, scale)
	case avx512.on && queries == 2:
		scoresFullAVX512x2(s, q, k, dim, stride, n, scale)
	case avx512.on:
		scoresFullAVX512x4(s, q, k, dim, stride, n, scale)
	case queries == 1:
		scoresFullAVX2x1(s, q, k, dim, stride, n, scale)
	case queries == 2:
		scoresFullAVX2x2(s, q, k, dim, stride, n, scale)
	default:
		scoresFullAVX2x4(s, q, k, dim, stride, n, scale)
	}
}

func valuesFull(out, p *[Queries]*float32, v *byte, queries, tokens, stride, n int) {
	switch {
	case avx512.on && queries == 1:
		valuesFullAVX512x1(out, p, v, tokens, stride, n)
	case avx512.on && queries == 2:
		valuesFullAVX512x2(out, p, v, tokens, stride, n)
	case avx512.on:
		valuesFullAVX512x4(out, p, v, tokens, stride, n)
	case queries == 1:
		valuesFullAVX2x1(out, p, v, tokens, stride, n)
	case queries == 2:
		valuesFullAVX2x2(out, p, v, tokens, stride, n)
	default:
		valuesFullAVX2x4(out, p, v, tokens, stride, n)
	}
}

func toHalf(dst []uint16, x []float32) int {
	n := len(x) &^ 15
	switch {
	case n == 0:
	case avx512.on:
		toHalfAVX512(&dst[:n][0], &x[0], n)
	case avx2.on:
		toHalfAVX2(&dst[:n][0], &x[0], n)
	default:
		return 0
	}
	return n
}
