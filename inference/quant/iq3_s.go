package quant

import "unsafe"

// BlockIQ3S is a super-block of IQ3_S: per 4 values 9 bits of a point, the high one in
// QH; per 8 values a byte of signs, per 32 values 4 bits of scale.
type BlockIQ3S struct {
	D      [2]byte // float16
	Q      [64]byte
	QH     [8]byte
	Signs  [32]byte
	Scales [4]byte
}

const iq3sBytes = 110

const _ = -uint(unsafe.Sizeof(BlockIQ3S{}) ^ iq3sBytes) // the size is part of the format

func decodeIQ3S(dst []float32, src []byte) {
	for ; len(src) > 0; dst, src = dst[256:], src[iq3sBytes:] {
		d := half(src)
		for i := range 32 {
			high := int(src[66+i/4]) >> (2 * (i % 4))
			a := point(gridIQ3S, int(src[2+2*i])|high&1<<8)
			b := point(gridIQ3S, int(src[3+2*i])|high>>1&1<<8)
			scale := d * float32(1+2*int(src[106+i/8]>>(4*(i/4%2))&15))
			fours(dst[8*i:], scale, &levelsIQ3S, a, b, src[74+i])
		}
	}
}
