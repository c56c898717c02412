package quant

import "unsafe"

// BlockQ10 is a block of Q1_0: 128 values, x = D or −D: bit i tells which.
type BlockQ10 struct {
	D [2]byte // float16
	Q [16]byte
}

const q10Bytes = 18

const _ = -uint(unsafe.Sizeof(BlockQ10{}) ^ q10Bytes) // the size is part of the format

func decodeQ10(dst []float32, src []byte) {
	for ; len(src) > 0; dst, src = dst[128:], src[q10Bytes:] {
		d := half(src)
		for i := range 128 {
			dst[i] = signed(d, ^src[2+i/8], i%8)
		}
	}
}
