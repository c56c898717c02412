//go:build !purego

package kernel

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// x/sys/cpu has no flag for F16C; every processor with AVX2 and FMA has it.
var (
	avx512 = newPath("avx512vnni", cpu.X86.HasAVX512VNNI && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL && cpu.X86.HasFMA)
	avx2   = newPath("avx2", cpu.X86.HasAVX2 && cpu.X86.HasFMA)
)

// vectors tells whether any path is on.
func vectors() bool { return avx512.on || avx2.on }

// addPanel adds a panel times n columns.
func (m *Matrix) addPanel(out []float32, w []byte, x *[4]*byte, n int) {
	switch {
	case !avx512.on:
		m.mulAVX2(out, w, x, n)
	case n == 4:
		m.addAVX512x4(&out[0], &w[0], x)
	case n == 2:
		m.addAVX512x2(&out[0], &w[0], x)
	default:
		m.addAVX512x1(&out[0], &w[0], x)
	}
}

// addFloats adds a panel of float32 times 4 columns or 1.
func addFloats(out, panel []float32, x *[4]*byte, columns int) {
	n, w := len(panel)/PanelRows, (*byte)(unsafe.Pointer(&panel[0]))
	switch {
	case avx512.on && columns == 4:
		f32AVX512x4(w, x, &out[0], n)
	case avx512.on:
		f32AVX512x1(w, x, &out[0], n)
	case columns == 4:
		for o := range 4 {
			part := (*byte)(unsafe.Pointer(&panel[8*o]))
			f32AVX2x4(part, part, x, &out[8*o], n)
		}
	default:
		f32AVX2x1(w, w, x, &out[0], n)
	}
}
