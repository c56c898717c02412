//go:build (amd64 || arm64) && !purego

package kernel

import "rbee/inference/quant"

// packVector writes the dwords of values of a whole panel, where there is code for it.
func (m *Matrix) packVector(panel, rows []byte) bool {
	if !vectors() {
		return false
	}
	each, row, block := m.Type.BlockBytes(), m.Type.RowBytes(m.K), m.blockSize()
	_, _ = panel[m.blocks*block-1], rows[PanelRows*row-1]
	switch m.Type {
	case quant.Q40, quant.IQ4NL:
		transpose4Vector(&panel[0], &rows[2], row, each, block, m.blocks, 0)
	case quant.Q50:
		transpose4Vector(&panel[0], &rows[6], row, each, block, m.blocks, 0)
	case quant.Q80:
		transpose8Vector(&panel[0], &rows[2], row, each, block, m.blocks, 0x80808080)
	default:
		return false
	}
	return true
}
