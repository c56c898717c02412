package quant

import "unsafe"

// BlockQ80 is a block of Q8_0: x = D·q.
type BlockQ80 struct {
	D [2]byte // float16
	Q [32]int8
}

const q80Bytes = 34

const _ = -uint(unsafe.Sizeof(BlockQ80{}) ^ q80Bytes) // the size is part of the format

func decodeQ80(dst []float32, src []byte) {
	for ; len(src) > 0; dst, src = dst[32:], src[q80Bytes:] {
		d := half(src)
		for i, q := range src[2:q80Bytes] {
			dst[i] = d * float32(int8(q))
		}
	}
}
