package quant

import "unsafe"

// BlockQ41 is a block of Q4_1: x = D·q + M, q in 4 bits, as in Q4_0.
type BlockQ41 struct {
	D, M [2]byte // float16
	Q    [16]byte
}

const q41Bytes = 20

const _ = -uint(unsafe.Sizeof(BlockQ41{}) ^ q41Bytes) // the size is part of the format

func (v *Ints) unpackQ41(src []byte) {
	v.one(half(src))
	v.oneMin(half(src[2:]))
	for i, q := range src[4:q41Bytes] {
		v.Q[i], v.Q[16+i] = int8(q&15), int8(q>>4)
	}
}
