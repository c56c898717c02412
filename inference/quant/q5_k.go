package quant

import "unsafe"

// BlockQ5K is a super-block of Q5_K: as Q4_K with a fifth bit per value; that of
// value i of sub-block s is bit s of QH[i].
type BlockQ5K struct {
	D, DMin [2]byte  // float16
	Scales  [12]byte // 8 scales and 8 minima of 6 bits: see ScalesQ4K
	QH      [32]byte
	Q       [128]byte
}

const q5kBytes = 176

const _ = -uint(unsafe.Sizeof(BlockQ5K{}) ^ q5kBytes) // the size is part of the format

func decodeQ5K(dst []float32, src []byte) {
	for ; len(src) > 0; dst, src = dst[256:], src[q5kBytes:] {
		d, dmin := half(src), half(src[2:])
		scales, mins := ScalesQ4K(src[4:16])
		high, q := src[16:48], src[48:q5kBytes]
		for s := range 8 {
			scale, low := d*float32(scales[s]), dmin*float32(mins[s])
			for i, b := range q[32*(s/2):][:32] {
				v := b>>(4*(s%2))&15 | high[i]>>s&1<<4
				dst[32*s+i] = float32(scale*float32(v)) - low
			}
		}
	}
}
