package quant

import "unsafe"

// BlockQ6K is a super-block of Q6_K: 16 sub-blocks of 16 values,
// x = D·scale·(q − 32), q in 6 bits: 4 low ones in QL, 2 high ones in QH.
type BlockQ6K struct {
	QL     [128]byte
	QH     [64]byte
	Scales [16]int8
	D      [2]byte // float16
}

const q6kBytes = 210

const _ = -uint(unsafe.Sizeof(BlockQ6K{}) ^ q6kBytes) // the size is part of the format

func decodeQ6K(dst []float32, src []byte) {
	for ; len(src) > 0; dst, src = dst[256:], src[q6kBytes:] {
		d := half(src[208:])
		for n := range 2 { // halves of 128 values
			low, high, scales := src[64*n:][:64], src[128+32*n:][:32], src[192+8*n:][:8]
			for quarter := range 4 {
				for i, h := range high {
					q := low[32*(quarter%2)+i]>>(4*(quarter/2))&15 | h>>(2*quarter)&3<<4
					scale := d * float32(int8(scales[2*quarter+i/16]))
					dst[128*n+32*quarter+i] = scale * float32(int(q)-32)
				}
			}
		}
	}
}
