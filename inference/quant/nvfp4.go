package quant

import "unsafe"

// BlockNVFP4 is a block of NVFP4: 4 sub-blocks of 16 values, x = D/2·levels[q]; D is
// an 8-bit float without sign (E4M3), q and levels as in MXFP4.
type BlockNVFP4 struct {
	D [4]byte
	Q [32]byte
}

const nvfp4Bytes = 36

const _ = -uint(unsafe.Sizeof(BlockNVFP4{}) ^ nvfp4Bytes) // the size is part of the format

// halfOf8 is half of an E4M3 without sign; what stands for NaN is 0, as in ggml,
// and the sign bit is not looked at.
func halfOf8(b byte) float32 {
	exp, man := int(b>>3&15), float32(b&7)
	switch {
	case b == 0x7f:
		return 0
	case exp == 0:
		return man * 0x1p-10
	}
	return (8 + man) * float32(uint32(1)<<exp) * 0x1p-11
}

func decodeNVFP4(dst []float32, src []byte) {
	for ; len(src) > 0; dst, src = dst[64:], src[nvfp4Bytes:] {
		for s := range 4 {
			d := halfOf8(src[s])
			for i, q := range src[4+8*s:][:8] {
				dst[16*s+i] = d * float32(levelsFP4[q&15])
				dst[16*s+8+i] = d * float32(levelsFP4[q>>4])
			}
		}
	}
}
