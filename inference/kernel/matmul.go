package kernel

import (
	"encoding/binary"
	"fmt"
	"math"

	"rbee/inference/quant"
)

// mulGeneric is mulPanel in plain Go, for any number of columns.
func (m *Matrix) mulGeneric(out []float32, w []byte, x []Act) {
	switch m.Type {
	case quant.Q41, quant.Q51, quant.Q2K, quant.Q3K, quant.IQ4NL, quant.IQ4XS, quant.MXFP4:
		m.mulInteger(out, w, x)
		return
	}
	if m.class == Plain {
		m.mulPlain(out, w, x)
		return
	}
	for i := range x {
		m.mulColumn(out[i*PanelRows:][:PanelRows], w, &x[i])
	}
}

func (m *Matrix) mulColumn(dst []float32, w []byte, x *Act) {
	switch m.Type {
	case quant.F32:
		mulF32(dst, w, x.F)
	case quant.F16:
		mulF16(dst, w, x.F)
	case quant.BF16:
		mulBF16(dst, w, x.F)
	case quant.Q40:
		mulQ40(dst, w, x.A)
	case quant.Q50:
		mulQ50(dst, w, x.A)
	case quant.Q80:
		mulQ80(dst, w, x.A)
	case quant.Q4K, quant.Q5K:
		mulQ4K(dst, w, x.B, m.Type == quant.Q5K)
	case quant.Q6K:
		mulQ6K(dst, w, x.B)
	default:
		panic(fmt.Sprintf("kernel: no product of %v", m.Type))
	}
}

// scaled is float32(sum)·(dw·dx), rounded twice. The conversions forbid fusing.
func scaled(sum int32, dw, dx float32) float32 { return float32(float32(sum) * float32(dw*dx)) }

func mulF32(dst []float32, w []byte, x []float32) {
	for k, v := range x {
		row := w[4*PanelRows*k:][:4*PanelRows]
		for r := range dst {
			dst[r] += float32(math.Float32frombits(binary.LittleEndian.Uint32(row[4*r:])) * v)
		}
	}
}

func mulF16(dst []float32, w []byte, x []float32) {
	for k, v := range x {
		row := w[2*PanelRows*k:][:2*PanelRows]
		for r := range dst {
			dst[r] += float32(halfAt(row, r) * v)
		}
	}
}

func mulBF16(dst []float32, w []byte, x []float32) {
	for k, v := range x {
		row := w[2*PanelRows*k:][:2*PanelRows]
		for r := range dst {
			bits := uint32(binary.LittleEndian.Uint16(row[2*r:])) << 16
			dst[r] += float32(math.Float32frombits(bits) * v)
		}
	}
}

// dot4 is the inner product of four unsigned bytes and four activations.
func dot4(w uint32, x0, x1, x2, x3 int32) int32 {
	return int32(w&0xff)*x0 + int32(w>>8&0xff)*x1 + int32(w>>16&0xff)*x2 + int32(w>>24)*x3
}

// quad returns four activations.
func quad(q []int8) (x0, x1, x2, x3 int32) {
	_ = q[3]
	return int32(q[0]), int32(q[1]), int32(q[2]), int32(q[3])
}

func halfAt(w []byte, row int) float32 { return quant.FromHalf(binary.LittleEndian.Uint16(w[2*row:])) }

// addScaled adds the sums of one block.
func addScaled(dst []float32, sums *[PanelRows]int32, scales []byte, dx float32) {
	for r := range dst {
		dst[r] += scaled(sums[r], halfAt(scales, r), dx)
	}
}

// dotRows adds the products of one dword of every row and four activations.
func dotRows(sums *[PanelRows]int32, w []byte, q []int8) {
	x0, x1, x2, x3 := quad(q)
	w = w[:4*PanelRows]
	for r := range sums {
		sums[r] += dot4(word(w[4*r:]), x0, x1, x2, x3)
	}
}

// dotNibbles is dotRows for a dword of low halves (times a) and high halves (times b).
func dotNibbles(sums *[PanelRows]int32, w []byte, a, b []int8) {
	a0, a1, a2, a3 := quad(a)
	b0, b1, b2, b3 := quad(b)
	w = w[:4*PanelRows]
	for r := range sums {
		v := word(w[4*r:])
		sums[r] += dot4(v&nibbles, a0, a1, a2, a3) + dot4(v>>4&nibbles, b0, b1, b2, b3)
	}
}

func fill(sums *[PanelRows]int32, v int32) {
	for r := range sums {
		sums[r] = v
	}
}

func mulQ40(dst []float32, w []byte, x []Act32) {
	const size = 18 * PanelRows
	var sums [PanelRows]int32
	for b := range x {
		block, act := w[b*size:][:size], &x[b]
		fill(&sums, act.Corr8)
		for j := range 4 {
			dotNibbles(&sums, block[128*j:], act.Q[4*j:], act.Q[16+4*j:])
		}
		addScaled(dst, &sums, block[512:], act.D)
	}
}

// dotFives is dotNibbles for the j-th dword of a block whose dword of fifth bits
// is top.
func dotFives(sums *[PanelRows]int32, w, top []byte, j int, a, b []int8) {
	a0, a1, a2, a3 := quad(a)
	b0, b1, b2, b3 := quad(b)
	w, top = w[:4*PanelRows], top[:4*PanelRows]
	for r := range sums {
		v, t := word(w[4*r:]), word(top[4*r:])>>(2*j)
		sums[r] += dot4(v&nibbles|t&ones<<4, a0, a1, a2, a3) + dot4(v>>4&nibbles|t>>1&ones<<4, b0, b1, b2, b3)
	}
}

const ones = 0x01010101

func mulQ50(dst []float32, w []byte, x []Act32) {
	const size = 22 * PanelRows
	var sums [PanelRows]int32
	for b := range x {
		block, act := w[b*size:][:size], &x[b]
		fill(&sums, act.Corr16)
		for j := range 4 {
			dotFives(&sums, block[128*j:], block[512:], j, act.Q[4*j:], act.Q[16+4*j:])
		}
		addScaled(dst, &sums, block[640:], act.D)
	}
}

func mulQ80(dst []float32, w []byte, x []Act32) {
	const size = 34 * PanelRows
	var sums [PanelRows]int32
	for b := range x {
		block, act := w[b*size:][:size], &x[b]
		fill(&sums, act.Corr128)
		for j := range 8 {
			dotRows(&sums, block[128*j:], act.Q[4*j:])
		}
		addScaled(dst, &sums, block[1024:], act.D)
	}
}

// mulQ4K is for Q4_K and, with fifth bits behind each sub-block, for Q5_K.
func mulQ4K(dst []float32, w []byte, x []Act256, fives bool) {
	size, each := 144*PanelRows, 16*PanelRows
	if fives {
		size, each = 176*PanelRows, 20*PanelRows
	}
	var scales, mins [PanelRows][8]byte
	var total, low, sums [PanelRows]int32
	for b := range x {
		block, act := w[b*size:][:size], &x[b]
		scalesOf(&scales, &mins, block[128:])
		total, low = [PanelRows]int32{}, [PanelRows]int32{}
		for s := range 8 {
			fill(&sums, 0)
			sub := block[512+each*s:][:each]
			for j := range 4 {
				q := act.Q[32*s+4*j:]
				if fives {
					dotFives(&sums, sub[128*j:], sub[512:], j, q, q[16:])
				} else {
					dotNibbles(&sums, sub[128*j:], q, q[16:])
				}
			}
			sum := (act.Corr32[2*s] + act.Corr32[2*s+1]) / -32
			for r := range sums {
				total[r] += sums[r] * int32(scales[r][s])
				low[r] += int32(mins[r][s]) * sum
			}
		}
		for r := range dst {
			dst[r] -= scaled(low[r], halfAt(block[64:], r), act.D)
		}
		addScaled(dst, &total, block, act.D)
	}
}

// scalesOf unpacks the scales and minima of all rows.
func scalesOf(scales, mins *[PanelRows][8]byte, packed []byte) {
	for r := range PanelRows {
		var s [12]byte
		for i := range 3 {
			copy(s[4*i:], packed[128*i+4*r:][:4])
		}
		scales[r], mins[r] = quant.ScalesQ4K(s[:])
	}
}

func mulQ6K(dst []float32, w []byte, x []Act256) {
	const size = 210 * PanelRows
	var total, sums [PanelRows]int32
	for b := range x {
		block, act := w[b*size:][:size], &x[b]
		total = [PanelRows]int32{}
		for s := range 16 {
			fill(&sums, act.Corr32[s])
			q, at := act.Q[16*s:][:16], 576+384*s
			for j := range 4 {
				dotSixes(&sums, block[at:], block[at+128+128*(j%2):], j, q[4*j:])
			}
			for r := range sums {
				scale := int8(block[64+128*(s/4)+4*r+s%4])
				total[r] += sums[r] * int32(scale)
			}
		}
		addScaled(dst, &total, block, act.D)
	}
}

// dotSixes is dotRows for the j-th four of a sub-block of Q6_K: low has their
// nibbles, top the pairs of high bits.
func dotSixes(sums *[PanelRows]int32, top, low []byte, j int, q []int8) {
	x0, x1, x2, x3 := quad(q)
	top, low = top[:4*PanelRows], low[:4*PanelRows]
	for r := range sums {
		v := word(low[4*r:])>>(4*(j/2))&nibbles | word(top[4*r:])>>(2*j)&0x03030303<<4
		sums[r] += dot4(v, x0, x1, x2, x3)
	}
}
