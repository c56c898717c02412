package kernel

import (
	"math"

	"rbee/inference/quant"
)

// Act32 is 32 activations as int8 with one scale: x[i] ≈ D·Q[i]. D is rounded
// to float16, as in llama.cpp's q8_0. Weights are stored with 8, 16 or 128 added
// so that they have no sign; a block's sum starts at the correction for that.
type Act32 struct {
	D       float32
	Corr8   int32 // −8·ΣQ
	Corr16  int32 // −16·ΣQ
	Corr128 int32 // −128·ΣQ
	Q       [32]int8
}

// Act256 is 256 activations as int8 with one scale, for the K-quants: those of
// llama.cpp's q8_K.
type Act256 struct {
	D      float32
	Pairs  [8]int16  // sums of 32 Q, in the order 0 2, 1 3, 4 6, 5 7
	Sums   [16]int16 // sums of 16 Q, in the order 0 2, 1 3, 4 6, 5 7, …
	Corr32 [16]int32 // −32·(sums of 16 Q), in order
	Q      [256]int8
}

// An ActKind is the form of activations that a type of weights is multiplied with.
type ActKind int

// The forms.
const (
	Float ActKind = iota // float32 as they are
	By32                 // Act32
	By256                // Act256
	nKinds
)

// Kinds is the number of forms.
const Kinds = int(nKinds)

// KindFor returns the form that weights of type t need.
func KindFor(t quant.Type) ActKind {
	switch {
	case ClassOf(t) == Plain || t.Block() == 1:
		return Float
	case t.Block() == 256:
		return By256
	}
	return By32
}

// An Act is one column of k activations in one form; the others are nil.
type Act struct {
	F []float32
	A []Act32
	B []Act256
}

// Make32 quantises x, whose length is 32·len(dst). A NaN makes the scale NaN.
func Make32(dst []Act32, x []float32) {
	if quantize32(dst, x) {
		return
	}
	for b := range dst {
		dst[b].quantize(x[32*b:][:32])
	}
}

// Make256 quantises x, whose length is 256·len(dst). A NaN makes the scale NaN.
func Make256(dst []Act256, x []float32) {
	for b := range dst {
		dst[b].quantize(x[256*b:][:256])
	}
}

func (b *Act32) quantize(x []float32) {
	top := math.Float32frombits(maxAbsGeneric(x))
	d := top / 127
	var inv float32
	if top != 0 {
		inv = 127 / top // as llama.cpp on x86; its reference has 1/d
	}
	var sum int32
	for i, v := range x {
		q := toInt(v * inv)
		b.Q[i] = int8(q)
		sum += q
	}
	b.D, b.Corr8, b.Corr16, b.Corr128 = quant.FromHalf(quant.ToHalf(d)), -8*sum, -16*sum, -128*sum
}

func (b *Act256) quantize(x []float32) {
	top := first(x, maxAbs(x))
	if top == 0 {
		*b = Act256{}
		return
	}
	if !quantize256(b, x, top) {
		b.quantizeGeneric(x, top)
	}
	for i := range b.Sums {
		b.Sums[i] = int16(b.Corr32[i/4*4+swapped[i%4]] / -32)
	}
	for i := range b.Pairs {
		s := 2 * (i/4*4 + swapped[i%4])
		b.Pairs[i] = int16((b.Corr32[s] + b.Corr32[s+1]) / -32)
	}
}

// swapped is the order of four sums: those of even bytes of a dword, then odd ones.
var swapped = [4]int{0, 2, 1, 3}

// quantizeGeneric sets D, Corr32 and Q; top is the first value of the largest size.
func (b *Act256) quantizeGeneric(x []float32, top float32) {
	inv := -127 / top
	*b = Act256{D: 1 / inv}
	for i, v := range x {
		q := min(127, toInt(inv*v))
		b.Q[i] = int8(q)
		b.Corr32[i/16] -= 32 * int32(int8(q))
	}
}

// toInt rounds to the nearest integer, ties to even; what has none, NaN first,
// gives the smallest, as the processor does it.
func toInt(v float32) int32 {
	if !(v >= math.MinInt32 && v < 1<<31) {
		return math.MinInt32
	}
	return int32(math.RoundToEven(float64(v)))
}

// maxAbsGeneric returns the bits of the largest size in x; that of a NaN is
// larger than all others.
func maxAbsGeneric(x []float32) (top uint32) {
	for _, v := range x {
		top = max(top, math.Float32bits(v)&^(1<<31))
	}
	return top
}

// first returns the first value of x with the size whose bits are top.
func first(x []float32, top uint32) float32 {
	for _, v := range x {
		if math.Float32bits(v)&^(1<<31) == top {
			return v
		}
	}
	return 0
}
