package quant

import (
	_ "embed"
	"math"
	"math/bits"
)

// grids are the points that the IQ types choose from (iq2xxs_grid, iq2xs_grid,
// iq2s_grid, iq3xxs_grid, iq3s_grid and iq1s_grid of llama.cpp's ggml-common.h, build
// b11434, MIT licence), 16 bits each: eight numbers of a level in 2 bits, or four in
// 3 bits.
//
//go:embed grids.bin
var grids string

// Where a type's points begin in grids.
const (
	gridIQ2XXS = 0
	gridIQ2XS  = gridIQ2XXS + 2*256
	gridIQ2S   = gridIQ2XS + 2*512
	gridIQ3XXS = gridIQ2S + 2*1024
	gridIQ3S   = gridIQ3XXS + 2*256
	gridIQ1S   = gridIQ3S + 2*512
)

var (
	levelsIQ2    = [4]float32{8, 25, 43}
	levelsIQ3XXS = [8]float32{4, 12, 20, 28, 36, 44, 52, 62}
	levelsIQ3S   = [8]float32{1, 3, 5, 7, 9, 11, 13, 15}
	levelsIQ1    = [4]float32{-1, 0, 1}
)

// point returns point i of a grid.
func point(grid, i int) uint16 {
	return uint16(grids[grid+2*i]) | uint16(grids[grid+2*i+1])<<8
}

// signs7 adds the eighth sign to seven: their number is even.
func signs7(s uint32) byte {
	b := byte(s & 127)
	return b | byte(bits.OnesCount8(b)&1<<7)
}

// signed is v, with its sign turned if bit i of signs is set. There is no branch,
// since signs are as good as random.
func signed(v float32, signs byte, i int) float32 {
	return math.Float32frombits(math.Float32bits(v) ^ uint32(signs>>i&1)<<31)
}

// eight sets dst to d times the point of eight levels.
func eight(dst []float32, d float32, p uint16, signs byte) {
	for i := range dst[:8] {
		dst[i] = signed(d*levelsIQ2[p>>(2*i)&3], signs, i)
	}
}

// fours sets dst to d times two points of four levels.
func fours(dst []float32, d float32, levels *[8]float32, a, b uint16, signs byte) {
	for i := range 4 {
		dst[i] = signed(d*levels[a>>(3*i)&7], signs, i)
		dst[4+i] = signed(d*levels[b>>(3*i)&7], signs, 4+i)
	}
}

// shifted sets dst to d times the point of eight levels of IQ1, all moved by an
// eighth, down if minus is set.
func shifted(dst []float32, d float32, p uint16, minus bool) {
	delta := float32(0.125)
	if minus {
		delta = -delta
	}
	for i := range dst[:8] {
		dst[i] = d * (levelsIQ1[p>>(2*i)&3] + delta)
	}
}
