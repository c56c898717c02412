package quant

import (
	"encoding/binary"
	"unsafe"
)

// BlockQ50 is a block of Q5_0: x = D·(q − 16), q in 5 bits: four as in Q4_0, the
// fifth of value i is bit i of QH.
type BlockQ50 struct {
	D  [2]byte // float16
	QH [4]byte
	Q  [16]byte
}

const q50Bytes = 22

const _ = -uint(unsafe.Sizeof(BlockQ50{}) ^ q50Bytes) // the size is part of the format

func decodeQ50(dst []float32, src []byte) {
	for ; len(src) > 0; dst, src = dst[32:], src[q50Bytes:] {
		d, high := half(src), binary.LittleEndian.Uint32(src[2:])
		for i, q := range src[6:q50Bytes] {
			dst[i] = d * float32(int(q&15)+int(high>>i&1<<4)-16)
			dst[16+i] = d * float32(int(q>>4)+int(high>>(16+i)&1<<4)-16)
		}
	}
}
