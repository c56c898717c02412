package kernel

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"rbee/inference/quant"
)

// Pack interleaves the rows of a (rows, k) tensor as the file has it.
func Pack(t quant.Type, file []byte, rows, k int) (*Matrix, error) {
	m, err := New(t, file, rows, k)
	if err != nil {
		return nil, err
	}
	m.Fill(file)
	return m, nil
}

// New is Pack but for the values, which Fill writes.
func New(t quant.Type, file []byte, rows, k int) (*Matrix, error) {
	if !Packable(t) {
		return nil, fmt.Errorf("kernel: weights of type %v are not supported, only %s", t, quant.Supported())
	}
	if rows <= 0 || k <= 0 || k%t.Block() != 0 || len(file) != rows*t.RowBytes(k) {
		return nil, fmt.Errorf("kernel: a %v tensor (%d, %d) of %d bytes", t, rows, k, len(file))
	}
	m := &Matrix{Type: t, Rows: rows, K: k, class: ClassOf(t), kind: KindFor(t), mins: t.HasMins(), blocks: k / t.Block()}
	m.data = memory(m.Panels() * m.blocks * m.blockSize())
	return m, nil
}

// Fill packs the panels, several at a time. file is that of New.
func (m *Matrix) Fill(file []byte) {
	var next atomic.Int64
	work := func() {
		for {
			p := int(next.Add(1)) - 1
			if p >= m.Panels() {
				return
			}
			m.packPanel(file, p)
		}
	}
	const worth = 1 << 20 // bytes for which a goroutine is started
	var others sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0)-1, len(file)/worth) {
		others.Go(work)
	}
	work()
	others.Wait()
}

// packPanel packs block after block, so that what is written stays in the cache.
func (m *Matrix) packPanel(file []byte, p int) {
	rowBytes, each, size := m.Type.RowBytes(m.K), m.Type.BlockBytes(), m.blockSize()
	panel, rows := m.panel(p), file[p*PanelRows*rowBytes:]
	n := min(PanelRows, m.Rows-p*PanelRows)
	if m.Type.Block() == 1 {
		transpose(panel, rows, n, m.K, each)
		return
	}
	pack := packerOf(m.Type)
	if n == PanelRows && m.packVector(panel, rows) {
		pack = packRest(m.Type)
	}
	for b := range m.blocks {
		block := panel[b*size:][:size]
		for r := range n {
			pack(block, r, rows[r*rowBytes+b*each:][:each])
		}
	}
}

// transpose turns n rows of k values of 2 or 4 bytes into a panel.
func transpose(panel, rows []byte, n, k, size int) {
	const tile = 16 // values of a row at a time
	for from := 0; from < k; from += tile {
		for r := range n {
			src := rows[(r*k+from)*size:]
			for i := range min(tile, k-from) {
				dst := panel[((from+i)*PanelRows+r)*size:]
				if size == 4 {
					putWord(dst, word(src[4*i:]))
				} else {
					binary.LittleEndian.PutUint16(dst, binary.LittleEndian.Uint16(src[2*i:]))
				}
			}
		}
	}
}

// A packer writes one row's block into the panel's block.
type packer func(dst []byte, row int, src []byte)

func packerOf(t quant.Type) packer {
	switch t {
	case quant.Q40, quant.IQ4NL:
		return packQ40
	case quant.Q41:
		return packQ41
	case quant.Q50:
		return packQ50
	case quant.Q51:
		return packQ51
	case quant.MXFP4:
		return packMXFP4
	case quant.Q80:
		return packQ80
	case quant.Q2K:
		return packQ2K
	case quant.Q3K:
		return packQ3K
	case quant.IQ4XS:
		return packIQ4XS
	case quant.Q4K:
		return packQ4K
	case quant.Q5K:
		return packQ5K
	case quant.Q6K:
		return packQ6K
	}
	return packWhole
}

// packRest writes what packVector leaves out: all but the values' own dwords.
func packRest(t quant.Type) packer {
	switch t {
	case quant.Q40, quant.IQ4NL:
		return func(dst []byte, row int, src []byte) { half(dst, 512, row, src) }
	case quant.Q50:
		return func(dst []byte, row int, src []byte) {
			dword(dst, 512, 0, row, fifths(word(src[2:])))
			half(dst, 640, row, src)
		}
	case quant.Q80:
		return func(dst []byte, row int, src []byte) { half(dst, 1024, row, src) }
	}
	panic(fmt.Sprintf("kernel: nothing is left of %v", t))
}

// half copies a float16 to those of the other rows behind base.
func half(dst []byte, base, row int, src []byte) {
	binary.LittleEndian.PutUint16(dst[base+2*row:], binary.LittleEndian.Uint16(src))
}

// packWhole keeps blocks as they are, those of 32 rows side by side.
func packWhole(dst []byte, row int, src []byte) { copy(dst[len(src)*row:], src) }

// dword writes the i-th dword of a row behind base.
func dword(dst []byte, base, i, row int, v uint32) {
	binary.LittleEndian.PutUint32(dst[base+4*PanelRows*i+4*row:], v)
}

func word(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }

// packQ40: dword i has k 4i… in the low nibbles and k 16+4i… in the high ones,
// then the scales.
func packQ40(dst []byte, row int, src []byte) {
	for i := range 4 {
		dword(dst, 0, i, row, word(src[2+4*i:]))
	}
	copy(dst[512+2*row:], src[:2])
}

// packQ41 is packQ40 with the minima behind the scales.
func packQ41(dst []byte, row int, src []byte) {
	for i := range 4 {
		dword(dst, 0, i, row, word(src[4+4*i:]))
	}
	copy(dst[512+2*row:], src[:2])
	copy(dst[576+2*row:], src[2:4])
}

// packMXFP4 is packQ40 with a byte for the scale.
func packMXFP4(dst []byte, row int, src []byte) {
	for i := range 4 {
		dword(dst, 0, i, row, word(src[1+4*i:]))
	}
	dst[512+row] = src[0]
}

// packQ50: the nibbles of Q4_0, a dword of fifth bits, then the scales.
func packQ50(dst []byte, row int, src []byte) {
	packFives(dst, row, src[6:], word(src[2:]))
	copy(dst[640+2*row:], src[:2])
}

// packQ51 is packQ50 with the minima behind the scales.
func packQ51(dst []byte, row int, src []byte) {
	packFives(dst, row, src[8:], word(src[4:]))
	copy(dst[640+2*row:], src[:2])
	copy(dst[704+2*row:], src[2:4])
}

// packFives: four dwords of nibbles, then one of fifth bits. Bit 2j of byte i belongs
// to the low half of byte i of dword j, bit 2j+1 to the high half.
func packFives(dst []byte, row int, src []byte, high uint32) {
	for i := range 4 {
		dword(dst, 0, i, row, word(src[4*i:]))
	}
	dword(dst, 512, 0, row, fifths(high))
}

// fifths orders the fifth bits of 32 values.
func fifths(high uint32) uint32 {
	t := &fifthsOf
	return t[0][high&0xff] | t[1][high>>8&0xff] | t[2][high>>16&0xff] | t[3][high>>24]
}

// fifthsOf is what each byte of fifth bits becomes.
var fifthsOf = func() (t [4][256]uint32) {
	for b := range t {
		for v := range t[b] {
			for i := range 2 { // four bits at a time, one to each byte
				m, four := 2*b+i, uint32(v)>>(4*i)&15
				t[b][v] |= four * 0x00204081 & ones << (2*(m%4) + m/4)
			}
		}
	}
	return t
}()

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
		for m := range 8 {
			fifth |= word(src[16+4*m:]) >> s & ones << (2*(m%4) + m/4)
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

// packQ2K: d, dmin, the scales and minima as in the file, then per sub-block of 16 k
// one dword: bits 2j of byte i are k 4j+i.
func packQ2K(dst []byte, row int, src []byte) {
	copy(dst[2*row:], src[80:82])
	copy(dst[64+2*row:], src[82:84])
	for i := range 4 {
		dword(dst, 128, i, row, word(src[4*i:]))
	}
	for s := range 16 {
		dword(dst, 640, s, row, packPairs(src[16:], s))
	}
}

// packPairs gathers the pairs of bits of sub-block s of Q2_K or Q3_K.
func packPairs(src []byte, s int) (v uint32) {
	for j := range 4 {
		v |= word(src[32*(s/8)+16*(s%2)+4*j:]) >> (2 * (s % 8 / 2)) & 0x03030303 << (2 * j)
	}
	return v
}

// packQ3K: d, the 6-bit scales as in the file, then for every 32 k a dword of third
// bits (bit 4t+j of byte i is k 16t+4j+i) and two dwords as in Q2_K.
func packQ3K(dst []byte, row int, src []byte) {
	copy(dst[2*row:], src[108:110])
	for i := range 3 {
		dword(dst, 64, i, row, word(src[96+4*i:]))
	}
	for p := range 8 {
		var third uint32
		for i := range 8 {
			third |= word(src[4*i:]) >> p & ones << i
		}
		dword(dst, 448, 3*p, row, third)
		dword(dst, 448, 3*p+1, row, packPairs(src[32:], 2*p))
		dword(dst, 448, 3*p+2, row, packPairs(src[32:], 2*p+1))
	}
}

// packIQ4XS: d, the scales, then each sub-block's nibbles as in Q4_0. Byte i of a dword
// has the low bits of scales i and 4+i; nibble i of 16 bits has their high ones.
func packIQ4XS(dst []byte, row int, src []byte) {
	copy(dst[2*row:], src[:2])
	high := binary.LittleEndian.Uint16(src[2:])
	var top uint16
	var low uint32
	for i := range 4 {
		top |= (high>>(2*i)&3 | high>>(8+2*i)&3<<2) << (4 * i)
		first, second := src[4+i/2]>>(4*(i%2))&15, src[6+i/2]>>(4*(i%2))&15
		low |= uint32(first|second<<4) << (8 * i)
	}
	binary.LittleEndian.PutUint16(dst[64+2*row:], top)
	dword(dst, 128, 0, row, low)
	for i := range 32 {
		dword(dst, 256, i, row, word(src[8+4*i:]))
	}
}

const nibbles = 0x0f0f0f0f
