package quant

import "unsafe"

// BlockQ4K is a super-block of Q4_K: 8 sub-blocks of 32 values,
// x = D·scale·q − DMin·min, q in 4 bits, scale and min in 6.
type BlockQ4K struct {
	D, DMin [2]byte  // float16
	Scales  [12]byte // 8 scales and 8 minima of 6 bits: see ScalesQ4K
	Q       [128]byte
}

const q4kBytes = 144

const _ = -uint(unsafe.Sizeof(BlockQ4K{}) ^ q4kBytes) // the size is part of the format

// ScalesQ4K unpacks the scales and minima of a super-block: the first four of
// each are the low 6 bits of bytes 0–3 and 4–7, the last four have their low bits
// in bytes 8–11 and their high ones in the top of the first eight.
func ScalesQ4K(s []byte) (scales, mins [8]byte) {
	_ = s[11]
	for i := range 4 {
		scales[i], mins[i] = s[i]&63, s[4+i]&63
		scales[4+i] = s[8+i]&15 | s[i]>>6<<4
		mins[4+i] = s[8+i]>>4 | s[4+i]>>6<<4
	}
	return scales, mins
}

func decodeQ4K(dst []float32, src []byte) {
	for ; len(src) > 0; dst, src = dst[256:], src[q4kBytes:] {
		d, dmin := half(src), half(src[2:])
		scales, mins := ScalesQ4K(src[4:16])
		q := src[16:q4kBytes]
		for s := range 8 { // two sub-blocks share 32 bytes: the low halves, then the high ones
			scale, low := d*float32(scales[s]), dmin*float32(mins[s])
			for i, b := range q[32*(s/2):][:32] {
				dst[32*s+i] = float32(scale*float32(b>>(4*(s%2))&15)) - low
			}
		}
	}
}
