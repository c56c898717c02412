//go:build !purego

package kernel

import "rbee/inference/quant"

// mulAVX2 takes eight rows at a time for four columns, or all rows for one. Kernels
// of super-blocks take all rows by themselves.
func (m *Matrix) mulAVX2(out []float32, w []byte, x *[4]*byte, n int) {
	switch {
	case n == 4 && m.kind == By256:
		m.addAVX2x4(&out[0], &w[0], &w[0], x)
		return
	case n == 4:
		step, scales := 32, 16 // bytes of eight rows in a line of rows, of values and of scales
		switch m.Type {
		case quant.F16, quant.BF16:
			step = 16
		case quant.MXFP4:
			scales = 8
		}
		for o := range 4 {
			m.addAVX2x4(&out[8*o], &w[step*o], &w[scales*o], x)
		}
		return
	}
	for i := range n {
		one := [4]*byte{x[i]}
		m.addAVX2x1(&out[i*PanelRows], &w[0], &w[0], &one)
	}
}
