package kernel

// mulPlain adds the products of types without a kernel: rows are decoded, a block
// at a time, and added value after value.
func (m *Matrix) mulPlain(out []float32, w []byte, x []Act) {
	var values [256]float32
	n, each := m.Type.Block(), m.Type.BlockBytes()
	for b := range m.blocks() {
		for r := range PanelRows {
			row := values[:n]
			m.Type.Decode(row, w[(b*PanelRows+r)*each:][:each])
			for c := range x {
				acc := out[c*PanelRows+r]
				for i, v := range x[c].F[b*n:][:n] {
					acc += float32(row[i] * v)
				}
				out[c*PanelRows+r] = acc
			}
		}
	}
}
