package quant

import "unsafe"

// BlockQ3K is a super-block of Q3_K: 16 sub-blocks of 16 values,
// x = D·(scale − 32)·(q − 4), q in 3 bits: two low ones as in Q2_K, the high one of
// value i of 32-value group g is bit g of High[i]. Scales have 6 bits.
type BlockQ3K struct {
	High   [32]byte
	Q      [64]byte
	Scales [12]byte
	D      [2]byte // float16
}

const q3kBytes = 110

const _ = -uint(unsafe.Sizeof(BlockQ3K{}) ^ q3kBytes) // the size is part of the format

func (v *Ints) unpackQ3K(src []byte) {
	v.D, v.DMin = half(src[108:]), 0
	scales := src[96:108]
	for s := range 16 { // 4 low bits in bytes 0–7, 2 high ones in bytes 8–11
		low, high := scales[s%8]>>(4*(s/8))&15, scales[8+s%4]>>(2*(s/4))&3
		v.Scales[s] = int32(low|high<<4) - 32
	}
	for n := range 2 { // halves of 128 values
		for i, q := range src[32+32*n:][:32] {
			for quarter := range 4 {
				high := src[i] >> (4*n + quarter) & 1
				v.Q[128*n+32*quarter+i] = int8(q>>(2*quarter)&3|high<<2) - 4
			}
		}
	}
}
