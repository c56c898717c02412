package quant

import "unsafe"

// BlockIQ2S is a super-block of IQ2_S: per 8 values 10 bits of a point, the high two in
// QH, and a byte of signs; per 16 values 4 bits of scale.
type BlockIQ2S struct {
	D      [2]byte // float16
	Q      [32]byte
	Signs  [32]byte
	QH     [8]byte
	Scales [8]byte
}

const iq2sBytes = 82

const _ = -uint(unsafe.Sizeof(BlockIQ2S{}) ^ iq2sBytes) // the size is part of the format

func decodeIQ2S(dst []float32, src []byte) {
	for ; len(src) > 0; dst, src = dst[256:], src[iq2sBytes:] {
		d := half(src)
		for i := range 32 {
			q := int(src[2+i]) | int(src[66+i/4]>>(2*(i%4))&3)<<8
			scale := d * (0.5 + float32(src[74+i/4]>>(4*(i/2%2))&15)) * 0.25
			eight(dst[8*i:], scale, point(gridIQ2S, q), src[34+i])
		}
	}
}
