package quant

import (
	"encoding/binary"
	"unsafe"
)

// BlockIQ2XS is a super-block of IQ2_XS: per 8 values 9 bits of a point and 7 signs,
// per 16 values 4 bits of scale.
type BlockIQ2XS struct {
	D      [2]byte // float16
	Q      [64]byte
	Scales [8]byte
}

const iq2xsBytes = 74

const _ = -uint(unsafe.Sizeof(BlockIQ2XS{}) ^ iq2xsBytes) // the size is part of the format

func decodeIQ2XS(dst []float32, src []byte) {
	for ; len(src) > 0; dst, src = dst[256:], src[iq2xsBytes:] {
		d := half(src)
		for i := range 32 {
			q := binary.LittleEndian.Uint16(src[2+2*i:])
			scale := d * (0.5 + float32(src[66+i/4]>>(4*(i/2%2))&15)) * 0.25
			eight(dst[8*i:], scale, point(gridIQ2XS, int(q&511)), signs7(uint32(q>>9)))
		}
	}
}
