package quant

import (
	"encoding/binary"
	"unsafe"
)

// BlockQ51 is a block of Q5_1: x = D·q + M, q in 5 bits, as in Q5_0.
type BlockQ51 struct {
	D, M [2]byte // float16
	QH   [4]byte
	Q    [16]byte
}

const q51Bytes = 24

const _ = -uint(unsafe.Sizeof(BlockQ51{}) ^ q51Bytes) // the size is part of the format

func (v *Ints) unpackQ51(src []byte) {
	v.one(half(src))
	v.oneMin(half(src[2:]))
	high := binary.LittleEndian.Uint32(src[4:])
	for i, q := range src[8:q51Bytes] {
		v.Q[i] = int8(q&15) | int8(high>>i&1<<4)
		v.Q[16+i] = int8(q>>4) | int8(high>>(16+i)&1<<4)
	}
}
