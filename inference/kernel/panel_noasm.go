//go:build !amd64 || purego

package kernel

func (m *Matrix) mulPanel(out []float32, w []byte, x []Act) { m.mulGeneric(out, w, x) }

func mulFloats(out, panel []float32, x []Act, from int) { mulFloatsGeneric(out, panel, x, from) }

func (m *Matrix) mulWide(_ []float32, _ int, _ []Act, _ *Scratch) int { return 0 }

func (m *Matrix) packVector(_, _ []byte) bool { return false }
