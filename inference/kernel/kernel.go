// Package kernel holds the inner loops of the CPU device: products of quantised
// weights, exponentials, norms, attention. Plain Go here is the specification:
// vector code beside it must give the same bits.
//
// # Order of reduction
//
// Every sum has one order, which depends on nothing but the shapes of the model:
//
//   - A product of quantised weights adds block after block of k into one float32:
//     the block's sum is exact (integers), then acc + float32(Σ)·(dw·dx), every
//     operation rounded by itself, nothing fused. Types with minima first take
//     them away: acc − float32(Σmin)·(dmin·dx).
//   - A product of float weights adds value after value: acc + w·x, not fused.
//   - Softmax and norm sums have 16 partial sums (element i in number i mod 16)
//     that are added 8, 4, 2 and 1 apart.
//   - Attention runs over the dimension in order for scores and over the tokens in
//     order for values, with fused operations.
//
// Rows lie in panels of 32, so that a vector register holds the same k of many
// rows and nothing is ever summed across lanes.
package kernel

import (
	"encoding/binary"
	"fmt"

	"rbee/inference/quant"
)

// PanelRows is how many rows are interleaved.
const PanelRows = 32

// Class names the order of reduction: the number rises when it changes, and
// with it the bits of the logits.
const Class = "cpu-1"

// A Matrix is (Rows, K) weights in panels of 32 rows. A panel is a sequence of
// blocks of k; in a block, dword i of all 32 rows lie side by side. Nothing is
// widened: a panel has the bytes that its rows have in the file. Rows are
// padded with zeros to a multiple of 32.
type Matrix struct {
	Type    quant.Type
	Rows, K int

	data []byte
}

// Packable tells whether weights of the type can be multiplied.
func Packable(t quant.Type) bool { return t.Known() }

// Panels is the number of panels, the unit in which threads share the work.
func (m *Matrix) Panels() int { return (m.Rows + PanelRows - 1) / PanelRows }

// Padded is the number of rows with the padding: the stride of results.
func (m *Matrix) Padded() int { return m.Panels() * PanelRows }

// Bytes is the size of the packed weights.
func (m *Matrix) Bytes() int64 { return int64(len(m.data)) }

func (m *Matrix) blocks() int    { return m.K / m.Type.Block() }
func (m *Matrix) blockSize() int { return m.Type.BlockBytes() * PanelRows }

// panel returns panel p.
func (m *Matrix) panel(p int) []byte {
	size := m.blocks() * m.blockSize()
	return m.data[p*size:][:size]
}

// Pack interleaves the rows of a (rows, k) tensor as the file has it.
func Pack(t quant.Type, file []byte, rows, k int) (*Matrix, error) {
	if !Packable(t) {
		return nil, fmt.Errorf("kernel: weights of type %v are not supported, only %s", t, quant.Supported())
	}
	if rows <= 0 || k <= 0 || k%t.Block() != 0 || len(file) != rows*t.RowBytes(k) {
		return nil, fmt.Errorf("kernel: a %v tensor (%d, %d) of %d bytes", t, rows, k, len(file))
	}
	m := &Matrix{Type: t, Rows: rows, K: k}
	m.data = make([]byte, m.Panels()*m.blocks()*m.blockSize())
	rowBytes, each, size := t.RowBytes(k), t.BlockBytes(), m.blockSize()
	pack := packers[t]
	for r := range rows {
		panel, row := m.panel(r/PanelRows), file[r*rowBytes:][:rowBytes]
		for b := range m.blocks() {
			pack(panel[b*size:][:size], r%PanelRows, row[b*each:][:each])
		}
	}
	return m, nil
}

// packers write one row's block into the panel's block.
var packers = map[quant.Type]func(dst []byte, row int, src []byte){
	quant.F32:  packWords,
	quant.F16:  packHalves,
	quant.BF16: packHalves,
	quant.Q40:  packQ40,
	quant.Q80:  packQ80,
	quant.Q4K:  packQ4K,
	quant.Q6K:  packQ6K,
}

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
	copy(dst[2*row:], src[:2])
	copy(dst[64+2*row:], src[2:4])
	for i := range 3 {
		dword(dst, 128, i, row, word(src[4+4*i:]))
	}
	for s := range 8 {
		for j := range 4 {
			v := word(src[16+32*(s/2)+4*j:]) >> (4 * (s % 2)) & nibbles
			v |= word(src[16+32*(s/2)+16+4*j:]) >> (4 * (s % 2)) & nibbles << 4
			dword(dst, 512, 4*s+j, row, v)
		}
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
