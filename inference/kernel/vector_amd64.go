//go:build !purego

package kernel

// scores takes len(s), a multiple of 16.
func scores(s, q, k []float32, stride int, scale float32) bool {
	if len(s) == 0 || len(q) == 0 {
		return len(s) == 0
	}
	_ = k[(len(q)-1)*stride:][:len(s)]
	switch {
	case avx512.on:
		scoresAVX512(&s[0], &q[0], &k[0], len(q), 4*stride, scale, len(s))
	case avx2.on:
		scoresAVX2(&s[0], &q[0], &k[0], len(q), 4*stride, scale, len(s))
	default:
		return false
	}
	return true
}

func values(out, p, v []float32) int {
	n := len(out) &^ 15
	if n == 0 || len(p) == 0 {
		return n
	}
	_ = v[:len(p)*len(out)]
	switch {
	case avx512.on:
		valuesAVX512(&out[0], &p[0], &v[0], len(p), 4*len(out), n)
	case avx2.on:
		valuesAVX2(&out[0], &p[0], &v[0], len(p), 4*len(out), n)
	default:
		return 0
	}
	return n
}
