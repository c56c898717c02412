package quant

import (
	"encoding/binary"
	"unsafe"
)

// BlockIQ1S is a super-block of IQ1_S: per 8 values 11 bits of a point, the high three
// in QH, which also has, per 32 values, 3 bits of scale and the sign of the shift.
type BlockIQ1S struct {
	D  [2]byte // float16
	Q  [32]byte
	QH [16]byte
}

const iq1sBytes = 50

const _ = -uint(unsafe.Sizeof(BlockIQ1S{}) ^ iq1sBytes) // the size is part of the format

func decodeIQ1S(dst []float32, src []byte) {
	for ; len(src) > 0; dst, src = dst[256:], src[iq1sBytes:] {
		d := half(src)
		for i := range 32 {
			h := binary.LittleEndian.Uint16(src[34+2*(i/4):])
			q := int(src[2+i]) | int(h>>(3*(i%4))&7)<<8
			scale := d * float32(2*(h>>12&7)+1)
			shifted(dst[8*i:], scale, point(gridIQ1S, q), h>>15 != 0)
		}
	}
}
