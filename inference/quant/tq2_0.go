package quant

import "unsafe"

// BlockTQ20 is a super-block of TQ2_0: x = D·(q − 1), q in 2 bits; a byte of Q has
// four values that lie 32 apart.
type BlockTQ20 struct {
	Q [64]byte
	D [2]byte // float16
}

const tq20Bytes = 66

const _ = -uint(unsafe.Sizeof(BlockTQ20{}) ^ tq20Bytes) // the size is part of the format

func decodeTQ20(dst []float32, src []byte) {
	for ; len(src) > 0; dst, src = dst[256:], src[tq20Bytes:] {
		d := half(src[64:])
		for i, b := range src[:64] {
			for n := range 4 {
				dst[128*(i/32)+32*n+i%32] = d * float32(int(b>>(2*n)&3)-1)
			}
		}
	}
}
