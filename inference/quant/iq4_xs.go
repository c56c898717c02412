package quant

import (
	"encoding/binary"
	"unsafe"
)

// BlockIQ4XS is a super-block of IQ4_XS: 8 sub-blocks of 32 values,
// x = D·(scale − 32)·levels[q], q and levels as in IQ4_NL, scale in 6 bits: four low
// ones in ScalesL, two high ones in ScalesH.
type BlockIQ4XS struct {
	D       [2]byte // float16
	ScalesH [2]byte
	ScalesL [4]byte
	Q       [128]byte
}

const iq4xsBytes = 136

const _ = -uint(unsafe.Sizeof(BlockIQ4XS{}) ^ iq4xsBytes) // the size is part of the format

func (v *Ints) unpackIQ4XS(src []byte) {
	v.D, v.DMin = half(src), 0
	high := binary.LittleEndian.Uint16(src[2:])
	for s := range 8 {
		scale := int32(src[4+s/2]>>(4*(s%2))&15) | int32(high>>(2*s)&3<<4)
		v.Scales[2*s], v.Scales[2*s+1] = scale-32, scale-32
		for i, q := range src[8+16*s:][:16] {
			v.Q[32*s+i], v.Q[32*s+16+i] = levelsIQ4[q&15], levelsIQ4[q>>4]
		}
	}
}
