package quant

import "unsafe"

// BlockQ40 is a block of Q4_0: x = D·(q − 8), q in 4 bits; value i is the low
// half of Q[i] for i < 16, the high half of Q[i−16] after that.
type BlockQ40 struct {
	D [2]byte // float16
	Q [16]byte
}

const q40Bytes = 18

const _ = -uint(unsafe.Sizeof(BlockQ40{}) ^ q40Bytes) // the size is part of the format

func decodeQ40(dst []float32, src []byte) {
	for ; len(src) > 0; dst, src = dst[32:], src[q40Bytes:] {
		d := half(src)
		for i, q := range src[2:q40Bytes] {
			dst[i] = d * float32(int(q&15)-8)
			dst[16+i] = d * float32(int(q>>4)-8)
		}
	}
}
