package quant

import (
	"encoding/binary"
	"unsafe"
)

// BlockIQ3XXS is a super-block of IQ3_XXS: a byte per 4 values names a point; then, per
// 32 values, 4 times 7 signs and 4 bits of scale.
type BlockIQ3XXS struct {
	D     [2]byte // float16
	Q     [64]byte
	Signs [32]byte
}

const iq3xxsBytes = 98

const _ = -uint(unsafe.Sizeof(BlockIQ3XXS{}) ^ iq3xxsBytes) // the size is part of the format

func decodeIQ3XXS(dst []float32, src []byte) {
	for ; len(src) > 0; dst, src = dst[256:], src[iq3xxsBytes:] {
		d := half(src)
		for i := range 32 {
			bits := binary.LittleEndian.Uint32(src[66+i/4*4:])
			scale := d * (0.5 + float32(bits>>28)) * 0.5
			a, b := point(gridIQ3XXS, int(src[2+2*i])), point(gridIQ3XXS, int(src[3+2*i]))
			fours(dst[8*i:], scale, &levelsIQ3XXS, a, b, signs7(bits>>(7*(i%4))))
		}
	}
}
