// Package kernel holds the inner loops of the CPU device: products of quantised
// weights, exponentials, norms, attention. Plain Go here is the specification:
// vector code beside it must give the same bits. Class is the name of these bits.
//
// # Order of reduction
//
// Every sum has one order, which depends on nothing but the shapes of the model:
//
//   - A product of quantised weights adds block after block of k into one float32:
//     the block's sum is exact (integers), then acc + float32(Σ)·(dw·dx), every
//     operation rounded by itself, nothing fused. Types with minima first take
//     them away: acc − float32(Σmin)·(dmin·dx).
//   - A product of float weights, or of decoded ones, adds value after value:
//     acc + w·x, not fused.
//   - Softmax and norm sums have 16 partial sums (element i in number i mod 16)
//     that are added 8, 4, 2 and 1 apart.
//   - Attention runs over the dimension in order for scores and over the tokens in
//     order for values, with fused operations.
//
// # What lies side by side
//
// Rows of a Matrix lie in panels of 32, so that a vector register holds the same k of
// many rows and nothing is ever summed across lanes. From 16 columns on, where there
// is code for the type (wide_amd64.go), MulColumns unpacks 1024 k of a panel to bytes
// once, into the Scratch of its thread, and multiplies all columns with that; the sum
// is the same.
//
// The cache keeps keys and values as Lines, of float16 or float32. Up to Queries
// queries share one reading of them: Scores and Values compute each as if it were alone.
//
// # Vector code
//
// The assembly is written by the generators in _asm (a module of its own): go generate
// here. There are two paths for amd64, AVX-512 with VNNI and AVX2, and two for arm64,
// NEON with SDOT and without, chosen by what the processor has; RBEE_CPU=avx2, neon or
// generic, read once at start, keeps to less, and -tags purego builds without. Tests
// compare every path with plain Go; they fail for want of one that RBEE_REQUIRE_PATHS
// names. The arm64 ones were tested under emulation only, so their speed is not known.
//
// What is called where: the public functions call those of panel_asm.go and
// elementwise_asm.go, which look at lengths; from there dispatch_*.go, generated too,
// goes to the kernel of the type and the path. Files *_noasm.go stand for all that
// where there are no kernels.
//
// Weights are stored without sign, as w + 8, 16, 32 or 128, since that is what x86's
// instructions multiply; the integer sum starts at minus that many Σx. On arm64 those
// that fit in seven bits are the same, others get their sign back. Support lists
// which types have a kernel. A new one needs: a layout in pack.go, its plain product
// in matmul.go or integer.go, a tile in _asm and in _asm/arm64, a line in
// _asm/dispatch, and its class in support.go. Faster for many columns is a case in
// wide_amd64.go, faster to pack one in pack_asm.go.
package kernel

import (
	"rbee/inference/quant"
)

// PanelRows is how many rows are interleaved.
const PanelRows = 32

// Class names the order of reduction: the number rises when it changes, and
// with it the bits of the logits.
const Class = "cpu-2"

// A Matrix is (Rows, K) weights in panels of 32 rows. A panel is a sequence of
// blocks of k; in a block, dword i of all 32 rows lie side by side. Nothing is
// widened: a panel has the bytes that its rows have in the file. Rows are
// padded with zeros to a multiple of 32.
type Matrix struct {
	Type    quant.Type
	Rows, K int

	class  ProductClass
	kind   ActKind
	mins   bool
	blocks int // of a row
	data   []byte
}

// Packable tells whether weights of the type can be multiplied.
func Packable(t quant.Type) bool { return t.Known() }

// Panels is the number of panels, the unit in which threads share the work.
func (m *Matrix) Panels() int { return (m.Rows + PanelRows - 1) / PanelRows }

// Padded is the number of rows with the padding.
func (m *Matrix) Padded() int { return m.Panels() * PanelRows }

// Bytes is the size of the packed weights.
func (m *Matrix) Bytes() int64 { return int64(len(m.data)) }

func (m *Matrix) blockSize() int { return m.Type.BlockBytes() * PanelRows }

// panel returns panel p.
func (m *Matrix) panel(p int) []byte {
	size := len(m.data) / m.Panels()
	return m.data[p*size:][:size]
}

// Mul sets dst to the panel p of W·x: 32 outputs, those behind the last row are
// of zero weights. x has the form that KindFor names.
func (m *Matrix) Mul(dst []float32, p int, x *Act) {
	dst = dst[:PanelRows:PanelRows]
	clear(dst)
	col := [1]Act{*x}
	m.mulPanel(dst, m.panel(p), col[:])
}

// MulColumns sets the rows of panel p in dst, which is (len(x), Rows), to those of
// W·x. The bits of a column do not depend on the others. The panel is read once
// for four columns; it stays in the cache for the next four.
func (m *Matrix) MulColumns(dst []float32, p int, x []Act, s *Scratch) {
	if m.class == Plain {
		m.mulColumnsPlain(dst, p, x)
		return
	}
	done := m.mulWide(dst, p, x, s)
	dst, x = dst[done*m.Rows:], x[done:]
	var out [4 * PanelRows]float32
	for w := m.panel(p); len(x) > 0; {
		n := group(len(x))
		clear(out[:n*PanelRows])
		m.mulPanel(out[:n*PanelRows], w, x[:n])
		m.store(dst, p, out[:n*PanelRows])
		dst, x = dst[n*m.Rows:], x[n:]
	}
}

// group is how many of n columns are taken at once.
func group(n int) int {
	switch {
	case n >= 4:
		return 4
	case n >= 2:
		return 2
	}
	return 1
}

// store copies the rows of panel p, without the padding, to where they are in dst.
func (m *Matrix) store(dst []float32, p int, out []float32) {
	first := p * PanelRows
	rows := min(PanelRows, m.Rows-first)
	for i := range len(out) / PanelRows {
		copy(dst[i*m.Rows+first:][:rows], out[i*PanelRows:])
	}
}
