//go:build !purego

package kernel

import "rbee/inference/quant"

// What is unpacked of a panel at once: 1024 k, which the first cache holds.
const wideK = 1024

// wideBytes is the size of an unpacked block of a panel, 0 where there is no code for it.
func (m *Matrix) wideBytes() int {
	if !avx512.on {
		return 0
	}
	switch m.Type {
	case quant.Q40, quant.Q50, quant.IQ4NL:
		return 34 * PanelRows
	case quant.Q4K, quant.Q5K:
		return 512 + 256*PanelRows
	case quant.Q6K:
		return 576 + 256*PanelRows
	}
	return 0
}

// mulWide sets the rows of panel p for as many columns as are a multiple of four, and
// returns how many: 0 where it is no gain.
func (m *Matrix) mulWide(dst []float32, p int, x []Act, s *Scratch) int {
	each := m.wideBytes()
	if each == 0 || len(x) < manyColumns {
		return 0
	}
	n := len(x) &^ 3
	atOnce := wideK / m.Type.Block()
	wide, out := s.room(atOnce*each, n*PanelRows)
	w, size := m.panel(p), m.blockSize()
	for b := 0; b < m.blocks; b += atOnce {
		blocks := min(atOnce, m.blocks-b)
		m.widen(&wide[0], &w[b*size], blocks)
		for c := 0; c < n; c += 4 {
			var cols [4]*byte
			m.headsFrom(&cols, x[c:c+4], b, blocks)
			m.addWide(&out[c*PanelRows], &wide[0], &cols, blocks)
		}
	}
	m.store(dst, p, out)
	return n
}

func (m *Matrix) widen(dst, w *byte, blocks int) {
	switch m.Type {
	case quant.Q40:
		widenQ40AVX512(dst, w, blocks)
	case quant.Q50:
		widenQ50AVX512(dst, w, blocks)
	case quant.IQ4NL:
		widenIQ4NLAVX512(dst, w, blocks)
	case quant.Q4K:
		widenQ4KAVX512(dst, w, blocks)
	case quant.Q5K:
		widenQ5KAVX512(dst, w, blocks)
	case quant.Q6K:
		widenQ6KAVX512(dst, w, blocks)
	}
}

func (m *Matrix) addWide(out *float32, w *byte, x *[4]*byte, blocks int) {
	switch m.Type {
	case quant.Q4K, quant.Q5K:
		wideQ4KAVX512x4(w, x, out, blocks)
	case quant.Q6K:
		wideQ6KAVX512x4(w, x, out, blocks)
	default:
		wideAVX512x4(w, x, out, blocks)
	}
}
