package quant

import (
	"encoding/binary"
	"unsafe"
)

// BlockIQ1M is a super-block of IQ1_M: per 8 values 11 bits of a point, the high three
// in half a byte of QH with the sign of the shift; per 16 values 3 bits of scale, 12 of
// them in 16 bits with 4 bits of the float16 scale on top.
type BlockIQ1M struct {
	Q      [32]byte
	QH     [16]byte
	Scales [8]byte
}

const iq1mBytes = 56

const _ = -uint(unsafe.Sizeof(BlockIQ1M{}) ^ iq1mBytes) // the size is part of the format

func decodeIQ1M(dst []float32, src []byte) {
	for ; len(src) > 0; dst, src = dst[256:], src[iq1mBytes:] {
		var scales [4]uint16
		var top uint16
		for i := range scales {
			scales[i] = binary.LittleEndian.Uint16(src[48+2*i:])
			top |= scales[i] >> 12 << (4 * i)
		}
		d := FromHalf(top)
		for i := range 32 {
			h := src[32+i/2] >> (4 * (i % 2))
			q := int(src[i]) | int(h&7)<<8
			scale := d * float32(2*(scales[i/8]>>(3*(i/2%4))&7)+1)
			shifted(dst[8*i:], scale, point(gridIQ1S, q), h>>3&1 != 0)
		}
	}
}
