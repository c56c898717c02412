//go:build !purego

package kernel

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/cpu"
)

// Every arm64 processor that Go runs on has NEON. Every Mac has SDOT too, but macOS
// before 12 does not say so.
var (
	dotprod = newPath("neon-dotprod", cpu.ARM64.HasASIMDDP || runtime.GOOS == "darwin")
	neon    = newPath("neon", true)
)

// vectors tells whether any path is on.
func vectors() bool { return dotprod.on || neon.on }

// addPanel adds a panel times n columns.
func (m *Matrix) addPanel(out []float32, w []byte, x *[4]*byte, n int) {
	switch {
	case dotprod.on && n == 4:
		m.addDotx4(&out[0], &w[0], x)
	case dotprod.on && n == 2:
		m.addDotx2(&out[0], &w[0], x)
	case dotprod.on:
		m.addDotx1(&out[0], &w[0], x)
	case n == 4:
		m.addNEONx4(&out[0], &w[0], x)
	case n == 2:
		m.addNEONx2(&out[0], &w[0], x)
	default:
		m.addNEONx1(&out[0], &w[0], x)
	}
}

// addFloats adds a panel of float32 times 4 columns or 1.
func addFloats(out, panel []float32, x *[4]*byte, columns int) {
	n, w := len(panel)/PanelRows, (*byte)(unsafe.Pointer(&panel[0]))
	if columns == 4 {
		f32NEONx4(w, x, &out[0], n)
		return
	}
	f32NEONx1(w, x, &out[0], n)
}
