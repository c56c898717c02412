package kernel

import (
	"math"

	"rbee/inference/quant"
)

// Act32 is 32 activations as int8 with one scale, for Q4_0 and Q8_0:
// x[i] ≈ D·Q[i]. D is rounded to float16, as in llama.cpp's q8_0.
type Act32 struct {
	D       float32
	Corr8   int32 // −8·ΣQ: weights are stored with 8 added …
	Corr128 int32 // … or 128, and a sum starts here
	Q       [32]int8
}

// Act256 is 256 activations as int8 with one scale, for the K-quants: those of
// llama.cpp's q8_K.
type Act256 struct {
	D      float32
	Sums   [8]int32  // sums of 32 Q, for the minima
	Corr32 [16]int32 // −32·(sums of 16 Q)
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
	switch t.Block() {
	case 32:
		return By32
	case 256:
		return By256
	}
	return Float
}

// An Act is one column of k activations in one form; the others are nil.
type Act struct {
	F []float32
	A []Act32
	B []Act256
}

// Make32 quantises x, whose length is 32·len(dst).
func Make32(dst []Act32, x []float32) {
	for b := range dst {
		dst[b].quantize(x[32*b:][:32])
	}
}

// Make256 quantises x, whose length is 256·len(dst).
func Make256(dst []Act256, x []float32) {
	for b := range dst {
		dst[b].quantize(x[256*b:][:256])
	}
}

func (b *Act32) quantize(x []float32) {
	var top float32
	for _, v := range x {
		top = max(top, abs(v))
	}
	d := top / 127
	var inv float32
	if top != 0 {
		inv = 127 / top // as llama.cpp on x86; its reference has 1/d
	}
	var sum int32
	for i, v := range x {
		q := int32(math.RoundToEven(float64(v * inv)))
		b.Q[i] = int8(q)
		sum += q
	}
	b.D, b.Corr8, b.Corr128 = quant.FromHalf(quant.ToHalf(d)), -8*sum, -128*sum
}

func (b *Act256) quantize(x []float32) {
	var top float32
	for _, v := range x {
		if abs(v) > abs(top) {
			top = v
		}
	}
	*b = Act256{}
	if top == 0 {
		return
	}
	inv := -127 / top
	b.D = 1 / inv
	for i, v := range x {
		q := min(127, int32(math.RoundToEven(float64(inv*v))))
		b.Q[i] = int8(q)
		b.Corr32[i/16] -= 32 * q
		b.Sums[i/32] += q
	}
}

func abs(v float32) float32 { return math.Float32frombits(math.Float32bits(v) &^ (1 << 31)) }
