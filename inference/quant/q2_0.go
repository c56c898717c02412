package quant

import "unsafe"

// BlockQ20 is a block of Q2_0: 64 values, x = D·(q − 1), q in 2 bits.
type BlockQ20 struct {
	D [2]byte // float16
	Q [16]byte
}

const q20Bytes = 18

const _ = -uint(unsafe.Sizeof(BlockQ20{}) ^ q20Bytes) // the size is part of the format

func decodeQ20(dst []float32, src []byte) {
	for ; len(src) > 0; dst, src = dst[64:], src[q20Bytes:] {
		d := half(src)
		for i := range 64 {
			dst[i] = d * float32(int(src[2+i/4]>>(2*(i%4))&3)-1)
		}
	}
}
