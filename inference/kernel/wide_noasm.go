//go:build !amd64 || purego

package kernel

func (m *Matrix) mulWide(_ []float32, _ int, _ []Act, _ *Scratch) int { return 0 }
