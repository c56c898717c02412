//go:build (amd64 || arm64) && !purego

package kernel

import "unsafe"

// Each of these does as much of its work as registers hold whole and returns how
// far it came; plain Go does the rest.

// whole is how many of n values vector code takes: a multiple of step, 0 without paths.
func whole(n, step int) int {
	if !vectors() {
		return 0
	}
	return n &^ (step - 1)
}

func expSum(x []float32, sums *[16]float32, top float32) int {
	n := whole(len(x), 16)
	if n > 0 {
		expSumVector(&x[0], sums, top, n)
	}
	return n
}

func silu(dst, x []float32) int {
	n := whole(len(x), 16)
	if n > 0 {
		siluVector(&dst[:n][0], &x[0], n)
	}
	return n
}

func siluMul(dst, x, y []float32) int {
	n := whole(len(x), 16)
	if n > 0 {
		siluMulVector(&dst[:n][0], &x[0], &y[:n][0], n)
	}
	return n
}

func gelu(dst, x []float32) int {
	n := whole(len(x), 16)
	if n > 0 {
		geluVector(&dst[:n][0], &x[0], n)
	}
	return n
}

func geluMul(dst, x, y []float32) int {
	n := whole(len(x), 16)
	if n > 0 {
		geluMulVector(&dst[:n][0], &x[0], &y[:n][0], n)
	}
	return n
}

func squares(x []float32, sums *[16]float32) int {
	n := whole(len(x), 16)
	if n > 0 {
		squaresVector(&x[0], sums, n)
	}
	return n
}

func scaleMul(dst, x, w []float32, scale float32) int {
	n := whole(len(x), 16)
	if n > 0 {
		scaleMulVector(&dst[:n][0], &x[0], &w[:n][0], scale, n)
	}
	return n
}

func largest(x []float32, lanes *[16]float32) int {
	n := whole(len(x), 16)
	if n > 0 {
		maxVector(&x[0], lanes, n)
	}
	return n
}

func add(dst, x []float32) int {
	n := whole(len(x), 16)
	if n > 0 {
		addVector(&dst[:n][0], &x[0], n)
	}
	return n
}

func capped(x []float32, scale, limit float32) int {
	n := whole(len(x), 16)
	if n > 0 {
		capVector(&x[0], scale, limit, n)
	}
	return n
}

// ropeSplit returns how many pairs it has turned.
func ropeSplit(x, y, turn []float32) int {
	n := whole(len(x), 16)
	if n > 0 {
		ropeSplitVector(&x[0], &y[:n][0], &turn[:2*n][0], n)
	}
	return n
}

func ropePairs(x, turn []float32) int {
	n := whole(len(turn), 8)
	if n > 0 {
		ropePairsVector(&x[:n][0], &turn[0], n)
	}
	return n
}

func toHalf(dst []uint16, x []float32) int {
	n := whole(len(x), 16)
	if n > 0 {
		toHalfVector(&dst[:n][0], &x[0], n)
	}
	return n
}

func quantize32(dst []Act32, x []float32) bool {
	if len(dst) > 0 && vectors() {
		quantize32Vector((*byte)(unsafe.Pointer(&dst[0])), &x[:32*len(dst)][0], len(dst))
	}
	return vectors()
}

func quantize256(dst *Act256, x []float32, top float32) bool {
	if vectors() {
		quantize256Vector((*byte)(unsafe.Pointer(dst)), &x[:256][0], top)
	}
	return vectors()
}

// maxAbs takes len(x), a positive multiple of 16.
func maxAbs(x []float32) uint32 {
	if !vectors() {
		return maxAbsGeneric(x)
	}
	return maxAbsVector(&x[0], len(x))
}
