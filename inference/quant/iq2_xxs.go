package quant

import (
	"encoding/binary"
	"unsafe"
)

// BlockIQ2XXS is a super-block of IQ2_XXS: 8 sub-blocks of 32 values; each has 4 points
// of a grid in a byte each, then 4 times 7 signs and 4 bits of scale.
type BlockIQ2XXS struct {
	D [2]byte // float16
	Q [64]byte
}

const iq2xxsBytes = 66

const _ = -uint(unsafe.Sizeof(BlockIQ2XXS{}) ^ iq2xxsBytes) // the size is part of the format

func decodeIQ2XXS(dst []float32, src []byte) {
	for ; len(src) > 0; dst, src = dst[256:], src[iq2xxsBytes:] {
		d := half(src)
		for s := range 8 {
			q := src[2+8*s:][:8]
			bits := binary.LittleEndian.Uint32(q[4:])
			scale := d * (0.5 + float32(bits>>28)) * 0.25
			for i := range 4 {
				eight(dst[32*s+8*i:], scale, point(gridIQ2XXS, int(q[i])), signs7(bits>>(7*i)))
			}
		}
	}
}
