package quant

import (
	"math"
	"unsafe"
)

// BlockMXFP4 is a block of MXFP4: x = 2^(E−128)·levels[q], q in 4 bits, as in Q4_0.
type BlockMXFP4 struct {
	E byte // exponent
	Q [16]byte
}

const mxfp4Bytes = 17

const _ = -uint(unsafe.Sizeof(BlockMXFP4{}) ^ mxfp4Bytes) // the size is part of the format

// levelsFP4 are the values of a 4-bit float (E2M1), doubled.
var levelsFP4 = [16]int8{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}

// power is 2^(e−128).
func power(e byte) float32 {
	if e < 2 { // denormal
		return math.Float32frombits(0x00200000 << e)
	}
	return math.Float32frombits(uint32(e-1) << 23)
}

func (v *Ints) unpackMXFP4(src []byte) {
	v.one(power(src[0]))
	for i, q := range src[1:mxfp4Bytes] {
		v.Q[i], v.Q[16+i] = levelsFP4[q&15], levelsFP4[q>>4]
	}
}
