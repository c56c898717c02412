package quant

import "unsafe"

// BlockTQ10 is a super-block of TQ1_0: x = D·(q − 1), q in 0…2; a byte of Q has five
// of them as the digits of a fraction to base 3, a byte of QH four.
type BlockTQ10 struct {
	Q  [48]byte
	QH [4]byte
	D  [2]byte // float16
}

const tq10Bytes = 54

const _ = -uint(unsafe.Sizeof(BlockTQ10{}) ^ tq10Bytes) // the size is part of the format

func decodeTQ10(dst []float32, src []byte) {
	for ; len(src) > 0; dst, src = dst[256:], src[tq10Bytes:] {
		d := half(src[52:])
		trits(dst[:160], src[:32], d)
		trits(dst[160:240], src[32:48], d)
		trits(dst[240:256], src[48:52], d)
	}
}

// trits sets dst to the first digits of src, then to the second ones, and so on.
func trits(dst []float32, src []byte, d float32) {
	power := byte(1)
	for ; len(dst) > 0; dst = dst[len(src):] {
		for i, b := range src {
			digit := uint16(b*power) * 3 >> 8
			dst[i] = d * float32(int(digit)-1)
		}
		power *= 3
	}
}
