//go:build !purego

package kernel

import "unsafe"

// Each of these does as much of its work as registers hold whole and returns how
// far it came; plain Go does the rest.

func expSum(x []float32, sums *[16]float32, top float32) int {
	n := len(x) &^ 15
	switch {
	case n == 0:
	case avx512.on:
		expSumAVX512(&x[0], sums, top, n)
	case avx2.on:
		expSumAVX2(&x[0], sums, top, n)
	default:
		return 0
	}
	return n
}

func silu(dst, x []float32) int {
	n := len(x) &^ 15
	switch {
	case n == 0:
	case avx512.on:
		siluAVX512(&dst[:n][0], &x[0], n)
	case avx2.on:
		siluAVX2(&dst[:n][0], &x[0], n)
	default:
		return 0
	}
	return n
}

func siluMul(dst, x, y []float32) int {
	n := len(x) &^ 15
	switch {
	case n == 0:
	case avx512.on:
		siluMulAVX512(&dst[:n][0], &x[0], &y[:n][0], n)
	case avx2.on:
		siluMulAVX2(&dst[:n][0], &x[0], &y[:n][0], n)
	default:
		return 0
	}
	return n
}

func gelu(dst, x []float32) int {
	n := len(x) &^ 15
	switch {
	case n == 0:
	case avx512.on:
		geluAVX512(&dst[:n][0], &x[0], n)
	case avx2.on:
		geluAVX2(&dst[:n][0], &x[0], n)
	default:
		return 0
	}
	return n
}

func geluMul(dst, x, y []float32) int {
	n := len(x) &^ 15
	switch {
	case n == 0:
	case avx512.on:
		geluMulAVX512(&dst[:n][0], &x[0], &y[:n][0], n)
	case avx2.on:
		geluMulAVX2(&dst[:n][0], &x[0], &y[:n][0], n)
	default:
		return 0
	}
	return n
}

func squares(x []float32, sums *[16]float32) int {
	n := len(x) &^ 15
	switch {
	case n == 0:
	case avx512.on:
		squaresAVX512(&x[0], sums, n)
	case avx2.on:
		squaresAVX2(&x[0], sums, n)
	default:
		return 0
	}
	return n
}

func scaleMul(dst, x, w []float32, scale float32) int {
	n := len(x) &^ 15
	switch {
	case n == 0:
	case avx512.on:
		scaleMulAVX512(&dst[:n][0], &x[0], &w[:n][0], scale, n)
	case avx2.on:
		scaleMulAVX2(&dst[:n][0], &x[0], &w[:n][0], scale, n)
	default:
		return 0
	}
	return n
}

func quantize32(dst []Act32, x []float32) bool {
	if len(dst) == 0 {
		return true
	}
	to, from := (*byte)(unsafe.Pointer(&dst[0])), &x[:32*len(dst)][0]
	switch {
	case avx512.on:
		quantize32AVX512(to, from, len(dst))
	case avx2.on:
		quantize32AVX2(to, from, len(dst))
	default:
		return false
	}
	return true
}

// maxAbs takes len(x), a positive multiple of 16.
func maxAbs(x []float32) uint32 {
	switch {
	case avx512.on:
		return maxAbsAVX512(&x[0], len(x))
	case avx2.on:
		return maxAbsAVX2(&x[0], len(x))
	}
	return maxAbsGeneric(x)
}

func quantize256(dst *Act256, x []float32, top float32) bool {
	to, from := (*byte)(unsafe.Pointer(dst)), &x[:256][0]
	switch {
	case avx512.on:
		quantize256AVX512(to, from, top)
	case avx2.on:
		quantize256AVX2(to, from, top)
	default:
		return false
	}
	return true
}

// These are bound by memory: AVX2 does for every processor with vectors.

func largest(x []float32, lanes *[16]float32) int {
	n := len(x) &^ 15
	if n == 0 || !avx512.on && !avx2.on {
		return 0
	}
	maxAVX2(&x[0], lanes, n)
	return n
}

func add(dst, x []float32) int {
	n := len(x) &^ 15
	if n == 0 || !avx512.on && !avx2.on {
		return 0
	}
	addAVX2(&dst[:n][0], &x[0], n)
	return n
}

func ropePairs(x, turn []float32) int {
	n := len(turn) &^ 7
	if n == 0 || !avx512.on && !avx2.on {
		return 0
	}
	ropePairsAVX2(&x[:n][0], &turn[0], n)
	return n
}
