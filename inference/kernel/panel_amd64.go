//go:build !purego

package kernel

import (
	"unsafe"

	"golang.org/x/sys/cpu"

	"rbee/inference/quant"
)

//go:generate go -C _asm run . -out ../kernels_amd64.s -stubs ../kernels_amd64.go -pkg kernel

// x/sys/cpu has no flag for F16C; every processor with AVX2 and FMA has it.
var (
	avx512 = newPath("avx512vnni", cpu.X86.HasAVX512VNNI && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL && cpu.X86.HasFMA)
	avx2   = newPath("avx2", cpu.X86.HasAVX2 && cpu.X86.HasFMA)
)

// The assembly knows these sizes.
const (
	_ = -uint(unsafe.Sizeof(Act32{}) ^ 48)
	_ = -uint(unsafe.Sizeof(Act256{}) ^ 372)
)

// mulPanel adds w, a panel of m, times the columns x to out (len(x), 32). There
// are 1, 2 or 4 columns.
func (m *Matrix) mulPanel(out []float32, w []byte, x []Act) {
	switch {
	case m.class == Fast && avx512.on:
		var cols [4]*byte
		m.heads(&cols, x)
		switch len(x) {
		case 4:
			m.addAVX512x4(&out[0], &w[0], &cols)
		case 2:
			m.addAVX512x2(&out[0], &w[0], &cols)
		default:
			m.addAVX512x1(&out[0], &w[0], &cols)
		}
	case m.class == Fast && avx2.on:
		m.mulAVX2(out, w, x)
	default:
		m.mulGeneric(out, w, x)
	}
}

// heads sets p to where each column's activations begin, after a look at their
// length. It returns no array: copying one that was just written waits until all
// stores before it, those of the last product too, have reached the cache.
func (m *Matrix) heads(p *[4]*byte, x []Act) { m.headsFrom(p, x, 0, m.blocks) }

// headsFrom is heads for n blocks from a given one on.
func (m *Matrix) headsFrom(p *[4]*byte, x []Act, from, n int) {
	for i := range x {
		a := &x[i]
		switch m.kind {
		case By32:
			p[i] = (*byte)(unsafe.Pointer(&a.A[from:][:n][0]))
		case By256:
			p[i] = (*byte)(unsafe.Pointer(&a.B[from:][:n][0]))
		default:
			p[i] = (*byte)(unsafe.Pointer(&a.F[from:][:n][0]))
		}
	}
}

func (m *Matrix) addAVX512x4(out *float32, w *byte, x *[4]*byte) {
	switch n := m.blocks; m.Type {
	case quant.F32:
		f32AVX512x4(w, x, out, n)
	case quant.F16:
		f16AVX512x4(w, x, out, n)
	case quant.BF16:
		bf16AVX512x4(w, x, out, n)
	case quant.Q40:
		q40AVX512x4(w, x, out, n)
	case quant.Q50:
		q50AVX512x4(w, x, out, n)
	case quant.Q80:
		q80AVX512x4(w, x, out, n)
	case quant.Q4K:
		q4kAVX512x4(w, x, out, n)
	case quant.Q5K:
		q5kAVX512x4(w, x, out, n)
	case quant.Q6K:
		q6kAVX512x4(w, x, out, n)
	case quant.Q41:
		q41AVX512x4(w, x, out, n)
	case quant.Q51:
		q51AVX512x4(w, x, out, n)
	case quant.IQ4NL:
		iq4nlAVX512x4(w, x, out, n)
	case quant.MXFP4:
		mxfp4AVX512x4(w, x, out, n)
	case quant.Q2K:
		q2kAVX512x4(w, x, out, n)
	case quant.Q3K:
		q3kAVX512x4(w, x, out, n)
	case quant.IQ4XS:
		iq4xsAVX512x4(w, x, out, n)
	}
}

func (m *Matrix) addAVX512x2(out *float32, w *byte, x *[4]*byte) {
	switch n := m.blocks; m.Type {
	case quant.F32:
		f32AVX512x2(w, x, out, n)
	case quant.F16:
		f16AVX512x2(w, x, out, n)
	case quant.BF16:
		bf16AVX512x2(w, x, out, n)
	case quant.Q40:
		q40AVX512x2(w, x, out, n)
	case quant.Q50:
		q50AVX512x2(w, x, out, n)
	case quant.Q80:
		q80AVX512x2(w, x, out, n)
	case quant.Q4K:
		q4kAVX512x2(w, x, out, n)
	case quant.Q5K:
		q5kAVX512x2(w, x, out, n)
	case quant.Q6K:
		q6kAVX512x2(w, x, out, n)
	case quant.Q41:
		q41AVX512x2(w, x, out, n)
	case quant.Q51:
		q51AVX512x2(w, x, out, n)
	case quant.IQ4NL:
		iq4nlAVX512x2(w, x, out, n)
	case quant.MXFP4:
		mxfp4AVX512x2(w, x, out, n)
	case quant.Q2K:
		q2kAVX512x2(w, x, out, n)
	case quant.Q3K:
		q3kAVX512x2(w, x, out, n)
	case quant.IQ4XS:
		iq4xsAVX512x2(w, x, out, n)
	}
}

func (m *Matrix) addAVX512x1(out *float32, w *byte, x *[4]*byte) {
	switch n := m.blocks; m.Type {
	case quant.F32:
		f32AVX512x1(w, x, out, n)
	case quant.F16:
		f16AVX512x1(w, x, out, n)
	case quant.BF16:
		bf16AVX512x1(w, x, out, n)
	case quant.Q40:
		q40AVX512x1(w, x, out, n)
	case quant.Q50:
		q50AVX512x1(w, x, out, n)
	case quant.Q80:
		q80AVX512x1(w, x, out, n)
	case quant.Q4K:
		q4kAVX512x1(w, x, out, n)
	case quant.Q5K:
		q5kAVX512x1(w, x, out, n)
	case quant.Q6K:
		q6kAVX512x1(w, x, out, n)
	case quant.Q41:
		q41AVX512x1(w, x, out, n)
	case quant.Q51:
		q51AVX512x1(w, x, out, n)
	case quant.IQ4NL:
		iq4nlAVX512x1(w, x, out, n)
	case quant.MXFP4:
		mxfp4AVX512x1(w, x, out, n)
	case quant.Q2K:
		q2kAVX512x1(w, x, out, n)
	case quant.Q3K:
		q3kAVX512x1(w, x, out, n)
	case quant.IQ4XS:
		iq4xsAVX512x1(w, x, out, n)
	}
}
