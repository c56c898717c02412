package kernel

import (
	"encoding/binary"
	"fmt"

	"rbee/inference/quant"
)

// Pack interleaves the rows of a (rows, k) tensor as the file has it.
func Pack(t quant.Type, file []byte, rows, k int) (*Matrix, error) {
	if !Packable(t) {
		return nil, fmt.Errorf("kernel: weights of type %v are not supported, only %s", t, quant.Supported())
	}
	if rows <= 0 || k <= 0 || k%t.Block() != 0 || len(file) != rows*t.RowBytes(k) {
		return nil, fmt.Errorf("kernel: a %v tensor (%d, %d) of %d bytes", t, rows, k, len(file))
	}
	m := &Matrix{Type: t, Rows: rows, K: k, class: ClassOf(t), kind: KindFor(t), mins: t.HasMins()}
	m.data = memory(m.Panels() * m.blocks() * m.blockSize())
	rowBytes, each, size := t.RowBytes(k), t.BlockBytes(), m.blockSize()
	pack := packerOf(t)
	for r := range rows {
		panel, row := m.panel(r/PanelRows), file[r*rowBytes:][:rowBytes]
		for b := range m.blocks() {
			pack(panel[b*size:][:size], r%PanelRows, row[b*each:][:each])
		}
	}
	return m, nil
}

// A packer writes one row's block into the panel's block.
type packer func(dst []byte, row int, src []byte)

func packerOf(t quant.Type) packer {
	switch t {
	case quant.F32:
		return packWords
	case quant.F16, quant.BF16:
		return packHalves
	case quant.Q40:
		return packQ40
	case quant.Q50:
		return packQ50
	case quant.Q80:
		return packQ80
	case quant.Q4K:
		return packQ4K
	case quant.Q5K:
		return packQ5K
	case quant.Q6K:
		return packQ6K
	}
	return packWhole
}

// packWhole keeps blocks as they are, those of 32 rows side by side.
func packWhole(dst []byte, row int, src []byte) { copy(dst[len(src)*row:], src) }

// dword writes the i-th dword of a row behind base.
func dword(dst []byte, base, i, row int, v uint32) {
	binary.LittleEndian.PutUint32(dst[base+4*PanelRows*i+4*row:], v)
}

func word(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }

func packWords(dst []byte, row int, src []byte)  { copy(dst[4*row:], src[:4]) }
func packHalves(dst []byte, row int, src []byte) { copy(dst[2*row:], src[:2]) }

// packQ40: dword i has k 4i… in the low nibbles and k 16+4i… in the high ones,
// then the scales.
func packQ40(dst []byte, row int, src []byte) {
	for i := range 4 {
		dword(dst, 0, i, row, word(src[2+4*i:]))
	}
	copy(dst[512+2*row:], src[:2])
}

// packQ50: the nibbles of Q4_0, a dword of fifth bits, then the scales. Bit 2j of
// byte i belongs to the low half of byte i of dword j, bit 2j+1 to the high half.
func packQ50(dst []byte, row int, src []byte) {
	for i := range 4 {
		dword(dst, 0, i, row, word(src[6+4*i:]))
	}
	high, fifth := word(src[2:]), uint32(0)
	for k := range 32 { // the half is k/16, the dword k/4%4, the byte k%4
		fifth |= high >> k & 1 << (8*(k%4) + 2*(k/4%4) + k/16)
	}
	dword(dst, 512, 0, row, fifth)
	copy(dst[640+2*row:], src[:2])
}

// packQ80: bytes made unsigned by adding 128, then the scales.
func packQ80(dst []byte, row int, src []byte) {
	for i := range 8 {
		dword(dst, 0, i, row, word(src[2+4*i:])^0x80808080)
	}
	copy(dst[1024+2*row:], src[:2])
}

// packQ4K: d, dmin, the 6-bit scales as in the file, then each sub-block's
// nibbles as in Q4_0.
func packQ4K(dst []byte, row int, src []byte) {
	packScales(dst, row, src)
	for s := range 8 {
		packNibbles(dst[512+512*s:], row, src[16+32*(s/2):], s)
	}
}

// packQ5K is packQ4K with each sub-block's fifth bits behind it, as in Q5_0.
func packQ5K(dst []byte, row int, src []byte) {
	packScales(dst, row, src)
	for s := range 8 {
		packNibbles(dst[512+640*s:], row, src[48+32*(s/2):], s)
		fifth := uint32(0)
		for k := range 32 {
			fifth |= uint32(src[16+k]) >> s & 1 << (8*(k%4) + 2*(k/4%4) + k/16)
		}
		dword(dst, 512+640*s+512, 0, row, fifth)
	}
}

func packScales(dst []byte, row int, src []byte) {
	copy(dst[2*row:], src[:2])
	copy(dst[64+2*row:], src[2:4])
	for i := range 3 {
		dword(dst, 128, i, row, word(src[4+4*i:]))
	}
}

// packNibbles writes sub-block s, whose 32 bytes it shares with its neighbour.
func packNibbles(dst []byte, row int, src []byte, s int) {
	for j := range 4 {
		v := word(src[4*j:]) >> (4 * (s % 2)) & nibbles
		v |= word(src[16+4*j:]) >> (4 * (s % 2)) & nibbles << 4
		dword(dst, 0, j, row, v)
	}
}

// packQ6K: d, the scales, then per sub-block of 16 k one dword with the four
// pairs of high bits and two of nibbles: low k 0–7, high k 8–15.
func packQ6K(dst []byte, row int, src []byte) {
	copy(dst[2*row:], src[208:210])
	for i := range 4 {
		dword(dst, 64, i, row, word(src[192+4*i:]))
	}
	for s := range 16 {
		n, group, at := s/8, s%8/2, 16*(s%2) // half of 128, quarter of 32, place in it
		var top, low [4]uint32
		for j := range 4 {
			low[j] = word(src[64*n+32*(group%2)+at+4*j:]) >> (4 * (group / 2)) & nibbles
			top[j] = word(src[128+32*n+at+4*j:]) >> (2 * group) & 0x03030303
		}
		dword(dst, 576, 3*s, row, top[0]|top[1]<<2|top[2]<<4|top[3]<<6)
		dword(dst, 576, 3*s+1, row, low[0]|low[2]<<4)
		dword(dst, 576, 3*s+2, row, low[1]|low[3]<<4)
	}
}

const nibbles = 0x0f0f0f0f
