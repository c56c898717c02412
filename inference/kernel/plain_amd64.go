//go:build !purego

package kernel

import "unsafe"

func mulFloats(out, panel []float32, x []Act, from int) {
	if !avx512.on && !avx2.on {
		mulFloatsGeneric(out, panel, x, from)
		return
	}
	n := len(panel) / PanelRows
	w := (*byte)(unsafe.Pointer(&panel[0]))
	for i := 0; i < len(x); {
		var cols [4]*byte
		group := min(4, len(x)-i)
		if group < 4 {
			group = 1
		}
		for c := range group {
			cols[c] = (*byte)(unsafe.Pointer(&x[i+c].F[from:][:n][0]))
		}
		addFloats(out[i*PanelRows:], panel, w, &cols, group)
		i += group
	}
}

// addFloats is for 4 columns or 1.
func addFloats(out, panel []float32, w *byte, cols *[4]*byte, group int) {
	n := len(panel) / PanelRows
	switch {
	case avx512.on && group == 4:
		f32AVX512x4(w, cols, &out[0], n)
	case avx512.on:
		f32AVX512x1(w, cols, &out[0], n)
	case group == 4:
		for o := range 4 {
			part := (*byte)(unsafe.Pointer(&panel[8*o]))
			f32AVX2x4(part, part, cols, &out[8*o], n)
		}
	default:
		f32AVX2x1(w, w, cols, &out[0], n)
	}
}
