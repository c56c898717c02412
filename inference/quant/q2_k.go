package quant

import "unsafe"

// BlockQ2K is a super-block of Q2_K: 16 sub-blocks of 16 values,
// x = D·scale·q − DMin·min, q in 2 bits; a byte of Scales is a scale (low half)
// and a min. A byte of Q has the bits of four values that lie 32 apart.
type BlockQ2K struct {
	Scales  [16]byte
	Q       [64]byte
	D, DMin [2]byte // float16
}

const q2kBytes = 84

const _ = -uint(unsafe.Sizeof(BlockQ2K{}) ^ q2kBytes) // the size is part of the format

func (v *Ints) unpackQ2K(src []byte) {
	v.D, v.DMin = half(src[80:]), half(src[82:])
	for s, b := range src[:16] {
		v.Scales[s], v.Mins[s] = int32(b&15), int32(b>>4)
	}
	for n := range 2 { // halves of 128 values
		for i, q := range src[16+32*n:][:32] {
			for quarter := range 4 {
				v.Q[128*n+32*quarter+i] = int8(q >> (2 * quarter) & 3)
			}
		}
	}
}
