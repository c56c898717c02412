package kernel

// plainColumns is how many columns share the decoding of a block.
const plainColumns = 32

// mulColumnsPlain is MulColumns for types without a kernel.
func (m *Matrix) mulColumnsPlain(dst []float32, p int, x []Act) {
	var out [plainColumns * PanelRows]float32
	for i := 0; i < len(x); i += plainColumns {
		n := min(plainColumns, len(x)-i)
		clear(out[:n*PanelRows])
		m.mulPlain(out[:n*PanelRows], m.panel(p), x[i:i+n])
		m.store(dst[i*m.Rows:], p, out[:n*PanelRows])
	}
}

// mulPlain decodes rows, a block at a time, to a panel of float32 and adds that,
// value after value.
func (m *Matrix) mulPlain(out []float32, w []byte, x []Act) {
	var panel [256 * PanelRows]float32
	var row [256]float32
	n, each := m.Type.Block(), m.Type.BlockBytes()
	for b := range m.blocks {
		for r := range PanelRows {
			m.Type.Decode(row[:n], w[(b*PanelRows+r)*each:][:each])
			for i, v := range row[:n] {
				panel[i*PanelRows+r] = v
			}
		}
		mulFloats(out, panel[:n*PanelRows], x, b*n)
	}
}

// mulFloatsGeneric adds the products of a panel and as many values of each column,
// beginning with value from.
func mulFloatsGeneric(out, panel []float32, x []Act, from int) {
	for c := range x {
		dst := out[c*PanelRows:][:PanelRows]
		for k, v := range x[c].F[from:][:len(panel)/PanelRows] {
			for r, w := range panel[k*PanelRows:][:PanelRows] {
				dst[r] += float32(w * v)
			}
		}
	}
}
