package quant

import "unsafe"

// BlockIQ4NL is a block of IQ4_NL: x = D·levels[q], q in 4 bits, as in Q4_0.
type BlockIQ4NL struct {
	D [2]byte // float16
	Q [16]byte
}

const iq4nlBytes = 18

const _ = -uint(unsafe.Sizeof(BlockIQ4NL{}) ^ iq4nlBytes) // the size is part of the format

// levelsIQ4 are the values of IQ4_NL and IQ4_XS (kvalues_iq4nl of ggml-common.h).
var levelsIQ4 = [16]int8{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}

func (v *Ints) unpackIQ4NL(src []byte) {
	v.one(half(src))
	for i, q := range src[2:iq4nlBytes] {
		v.Q[i], v.Q[16+i] = levelsIQ4[q&15], levelsIQ4[q>>4]
	}
}
