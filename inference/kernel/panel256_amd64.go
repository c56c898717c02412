//go:build !purego

package kernel

import "rbee/inference/quant"

// mulAVX2 takes eight rows at a time for four columns, or all rows for one.
func (m *Matrix) mulAVX2(out []float32, w []byte, x []Act) {
	if len(x) == 4 {
		cols := m.heads(x)
		step := 32 // bytes of eight rows in a line of rows
		if m.Type == quant.F16 || m.Type == quant.BF16 {
			step = 16
		}
		for o := range 4 {
			m.addAVX2x4(&out[8*o], &w[step*o], &w[16*o], &cols)
		}
		return
	}
	for i := range x {
		cols := m.heads(x[i : i+1])
		m.addAVX2x1(&out[i*PanelRows], &w[0], &w[0], &cols)
	}
}

func (m *Matrix) addAVX2x4(out *float32, w, s *byte, x *[4]*byte) {
	switch n := m.blocks(); m.Type {
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
	}
}

func (m *Matrix) addAVX2x1(out *float32, w, s *byte, x *[4]*byte) {
	switch n := m.blocks(); m.Type {
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
	}
}
