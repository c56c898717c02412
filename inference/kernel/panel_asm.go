//go:build (amd64 || arm64) && !purego

package kernel

import "unsafe"

//go:generate go -C _asm run . -out ../kernels_amd64.s -stubs ../kernels_amd64.go -pkg kernel
//go:generate go -C _asm run ./arm64

// The assembly knows these sizes.
const (
	_ = -uint(unsafe.Sizeof(Act32{}) ^ 48)
	_ = -uint(unsafe.Sizeof(Act256{}) ^ 372)
)

// mulPanel adds w, a panel of m, times the columns x to out (len(x), 32). There
// are 1, 2 or 4 columns.
func (m *Matrix) mulPanel(out []float32, w []byte, x []Act) {
	if m.class != Fast || !vectors() {
		m.mulGeneric(out, w, x)
		return
	}
	var cols [4]*byte
	m.heads(&cols, x)
	m.addPanel(out, w, &cols, len(x))
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

// mulFloats adds the products of a panel of float32 and as many values of each column,
// beginning with value from.
func mulFloats(out, panel []float32, x []Act, from int) {
	if !vectors() {
		mulFloatsGeneric(out, panel, x, from)
		return
	}
	n := len(panel) / PanelRows
	for i := 0; i < len(x); {
		var cols [4]*byte
		group := min(4, len(x)-i)
		if group < 4 {
			group = 1
		}
		for c := range group {
			cols[c] = (*byte)(unsafe.Pointer(&x[i+c].F[from:][:n][0]))
		}
		addFloats(out[i*PanelRows:], panel, &cols, group)
		i += group
	}
}
