//go:build (!amd64 && !arm64) || purego

package kernel

func (m *Matrix) mulPanel(out []float32, w []byte, x []Act) { m.mulGeneric(out, w, x) }

func mulFloats(out, panel []float32, x []Act, from int) { mulFloatsGeneric(out, panel, x, from) }

func (m *Matrix) packVector(_, _ []byte) bool { return false }
