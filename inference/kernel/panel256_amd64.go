//go:build !purego

package kernel

import "rbee/inference/quant"

// mulAVX2 takes eight rows at a time for four columns, or all rows for one. Kernels
// of super-blocks take all rows by themselves.
func (m *Matrix) mulAVX2(out []float32, w []byte, x []Act) {
	var cols [4]*byte
	m.heads(&cols, x)
	switch {
	case len(x) == 4 && m.kind == By256:
		m.addAVX2x4(&out[0], &w[0], &w[0], &cols)
		return
	case len(x) == 4:
		step, scales := 32, 16 // bytes of eight rows in a line of rows, of values and of scales
		switch m.Type {
		case quant.F16, quant.BF16:
			step = 16
		case quant.MXFP4:
			scales = 8
		}
		for o := range 4 {
			m.addAVX2x4(&out[8*o], &w[step*o], &w[scales*o], &cols)
		}
		return
	}
	for i := range x {
		one := [4]*byte{cols[i]}
		m.addAVX2x1(&out[i*PanelRows], &w[0], &w[0], &one)
	}
}

func (m *Matrix) addAVX2x4(out *float32, w, s *byte, x *[4]*byte) {
	switch n := m.blocks; m.Type {
	case quant.F32:
		f32AVX2x4(w, s, x, out, n)
	case quant.F16:
		f16AVX2x4(w, s, x, out, n)
	case quant.BF16:
		bf16AVX2x4(w, s, x, out, n)
	case quant.Q40:
		q40AVX2x4(w, s, x, out, n)
	case quant.Q50:
		q50AVX2x4(w, s, x, out, n)
	case quant.Q80:
		q80AVX2x4(w, s, x, out, n)
	case quant.Q4K:
		q4kAVX2x4(w, s, x, out, n)
	case quant.Q5K:
		q5kAVX2x4(w, s, x, out, n)
	case quant.Q6K:
		q6kAVX2x4(w, s, x, out, n)
	case quant.Q41:
		q41AVX2x4(w, s, x, out, n)
	case quant.Q51:
		q51AVX2x4(w, s, x, out, n)
	case quant.IQ4NL:
		iq4nlAVX2x4(w, s, x, out, n)
	case quant.MXFP4:
		mxfp4AVX2x4(w, s, x, out, n)
	case quant.Q2K:
		q2kAVX2x4(w, s, x, out, n)
	case quant.Q3K:
		q3kAVX2x4(w, s, x, out, n)
	case quant.IQ4XS:
		iq4xsAVX2x4(w, s, x, out, n)
	}
}

func (m *Matrix) addAVX2x1(out *float32, w, s *byte, x *[4]*byte) {
	switch n := m.blocks; m.Type {
	case quant.F32:
		f32AVX2x1(w, s, x, out, n)
	case quant.F16:
		f16AVX2x1(w, s, x, out, n)
	case quant.BF16:
		bf16AVX2x1(w, s, x, out, n)
	case quant.Q40:
		q40AVX2x1(w, s, x, out, n)
	case quant.Q50:
		q50AVX2x1(w, s, x, out, n)
	case quant.Q80:
		q80AVX2x1(w, s, x, out, n)
	case quant.Q4K:
		q4kAVX2x1(w, s, x, out, n)
	case quant.Q5K:
		q5kAVX2x1(w, s, x, out, n)
	case quant.Q6K:
		q6kAVX2x1(w, s, x, out, n)
	case quant.Q41:
		q41AVX2x1(w, s, x, out, n)
	case quant.Q51:
		q51AVX2x1(w, s, x, out, n)
	case quant.IQ4NL:
		iq4nlAVX2x1(w, s, x, out, n)
	case quant.MXFP4:
		mxfp4AVX2x1(w, s, x, out, n)
	case quant.Q2K:
		q2kAVX2x1(w, s, x, out, n)
	case quant.Q3K:
		q3kAVX2x1(w, s, x, out, n)
	case quant.IQ4XS:
		iq4xsAVX2x1(w, s, x, out, n)
	}
}
