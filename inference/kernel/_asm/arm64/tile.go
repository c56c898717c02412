package main

import "fmt"

const (
	panelRows = 32

	// Offsets in an activation block of 32, Act32, whose first 16 bytes are loaded
	// together: lanes of that register.
	xScale, xCorr8, xCorr16, xQuants, xSize = 0, 1, 2, 16, 48
)

var tileParams = []param{{"w", "*byte"}, {"x", "*[4]*byte"}, {"dst", "*float32"}, {"blocks", "int"}}

// A set is the instructions that a tile multiplies bytes with.
type set struct {
	name string
	dot  bool // SDOT: sums of four products in 32 bits; else SMLAL: single ones in 16
}

var sets = []set{{"Dot", true}, {"NEON", false}}

// tile has the registers of a strip of a panel × cols columns. A register holds one
// dword of four rows, that is four k of each, so the strip has 4·rows of the panel's
// 32 rows; the kernel walks through the strips of a block before the next block.
type tile struct {
	*asm
	set
	rows, cols int
	limit      int // how many products 16 bits hold

	w, s, dst, blocks gp   // s is where this strip's scales are, if they are of another width than w's dwords
	x                 []gp // where each column's activations are

	acc  [][]vec    // [row][column] sums in 32 bits, after end
	half [][][2]vec // sums of rows 0 and 1, 2 and 3, without SDOT: in 16 bits, or in 32 if limit is small
	used [][]bool   // whether half has a sum yet
	q    [][]vec    // [column] the int8 activations, 16 in each
}

func (a *asm) beginTile(name string, s set, cols, frame, limit int) *tile {
	a.function(fmt.Sprintf("%s%sx%d", name, s.name, cols), frame, tileParams, "")
	t := &tile{asm: a, set: s, cols: cols, rows: 8 / cols, limit: limit}
	if !s.dot {
		t.rows = 4 / cols
	}
	t.w, t.dst, t.blocks = a.arg("w"), a.arg("dst"), a.arg("blocks")
	list := a.arg("x")
	for c := range cols {
		t.x = append(t.x, a.gp())
		a.linef("MOVD %d(%v), %v", 8*c, list, t.x[c])
	}
	t.s = t.gp()
	t.acc = make([][]vec, t.rows)
	t.half = make([][][2]vec, t.rows)
	t.used = make([][]bool, t.rows)
	for r := range t.rows {
		t.acc[r] = make([]vec, cols)
		t.half[r] = make([][2]vec, cols)
		t.used[r] = make([]bool, cols)
		for c := range cols {
			t.acc[r][c] = t.v()
			if !t.dot {
				t.half[r][c] = [2]vec{t.acc[r][c], t.v()}
			}
		}
	}
	return t
}

// each calls f for every register of sums.
func (t *tile) each(f func(r, c int)) {
	for r := range t.rows {
		for c := range t.cols {
			f(r, c)
		}
	}
}

func (t *tile) strips() int { return panelRows / 4 / t.rows }

// walk runs body for every block, of k weights of a row, and in it for every strip.
func (t *tile) walk(k, wBytes, sBytes, xBytes int, body func()) {
	t.linef("CBZ %v, done", t.blocks)
	t.count = 0
	t.repeat(t.blocks, 1, func() {
		t.move(t.s, t.w)
		if t.strips() == 1 {
			body()
		} else {
			t.fixed(t.strips(), func() {
				body()
				t.add(t.w, 16*t.rows)
				t.add(t.s, 4*sBytes*t.rows)
				t.add(t.dst, 16*t.rows)
			})
			t.add(t.w, -4*panelRows)
			t.add(t.dst, -4*panelRows)
		}
		t.add(t.w, wBytes)
		for _, x := range t.x {
			t.add(x, xBytes)
		}
	})
	each := float64(t.count) / float64(panelRows*t.cols*k/32)
	t.declare(fmt.Sprintf("adds one panel × columns, in %.1f instructions for 32 weights and a column.", each))
}

// done is where a panel without blocks ends too.
func (a *asm) done() {
	a.text.WriteString("done:\n")
	a.ret()
}

// dword loads a dword of four rows.
func (t *tile) dword(r, disp int) vec {
	v := t.v()
	t.load(v, t.w, disp+16*r)
	return v
}

// begin sets the sums to zero or, with SDOT, to one lane of a number per column.
func (t *tile) begin(start func(c int) (vec, int)) {
	t.each(func(r, c int) {
		t.used[r][c] = false
		switch {
		case !t.dot:
		case start == nil:
			t.zero(t.acc[r][c])
		default:
			v, lane := start(c)
			t.dup(t.acc[r][c], v, lane)
		}
	})
}

// multiply adds two dwords of a row of registers, signed bytes, times the activations'
// dwords i and j.
func (t *tile) multiply(r int, w [2]vec, i, j int) {
	if !t.dot && t.limit < 8 {
		t.multiplyTwo(r, w, i, j)
		return
	}
	for n, at := range []int{i, j} {
		for c := range t.cols {
			if t.dot {
				t.lane("sdot", t.acc[r][c], w[n], t.q[c][at/4], at%4)
				continue
			}
			t.long(t.half[r][c], w[n], t.q[c][at/4], at%4, !t.used[r][c])
			t.used[r][c] = true
		}
	}
}

// multiplyTwo is multiply where no more than two products fit in 16 bits.
func (t *tile) multiplyTwo(r int, w [2]vec, i, j int) {
	for c := range t.cols {
		short := [2]vec{t.v(), t.v()}
		t.long(short, w[0], t.q[c][i/4], i%4, true)
		t.long(short, w[1], t.q[c][j/4], j%4, false)
		add := "sadalp"
		if !t.used[r][c] {
			add = "saddlp"
		}
		t.op(add, t.half[r][c][0], short[0])
		t.op(add, t.half[r][c][1], short[1])
		t.free(short[:]...)
		t.used[r][c] = true
	}
}

// long adds (or sets) products in 16 bits.
func (t *tile) long(to [2]vec, w, q vec, lane int, first bool) {
	name := "smlal"
	if first {
		name = "smull"
	}
	x := t.v()
	t.dup(x, q, lane)
	t.op(name, to[0], w, x)
	t.op(name+"2", to[1], w, x)
	t.free(x)
}

// end leaves a block's sums in acc: without SDOT it adds what multiply left apart, and
// the number that begin was given.
func (t *tile) end(start func(c int) (vec, int)) {
	if t.dot {
		return
	}
	t.each(func(r, c int) {
		h := t.half[r][c]
		if t.limit >= 8 {
			t.op("saddlp", h[0], h[0])
			t.op("saddlp", h[1], h[1])
		}
		t.op("addp", h[0], h[0], h[1])
		if start != nil {
			x := t.v()
			v, lane := start(c)
			t.dup(x, v, lane)
			t.op("add", h[0], h[0], x)
			t.free(x)
		}
	})
}

// quants loads n·16 activations of each column.
func (t *tile) quants(disp, n int) {
	for c, x := range t.x {
		for i := range n {
			t.load(t.q[c][i], x, disp+16*i)
		}
	}
}

func (t *tile) takeQuants(n int) {
	for range t.cols {
		t.q = append(t.q, t.some(n))
	}
}

// nibbles takes the low and the high halves of a dword's bytes; v becomes the high ones.
func (t *tile) nibbles(v, mask vec) [2]vec {
	low := t.v()
	t.op("and", low, v, mask)
	t.shift("ushr", 8, v, v, 4)
	return [2]vec{low, v}
}

// orBits sets those bits of v that mask has to those of top, shifted to the left, or to
// the right if by is negative.
func (t *tile) orBits(v, top, mask vec, by int) {
	if by == 0 {
		t.op("bit", v, top, mask)
		return
	}
	x := t.v()
	t.shiftBytes(x, top, by)
	t.op("bit", v, x, mask)
	t.free(x)
}

func (t *tile) shiftBytes(d, v vec, by int) {
	if by > 0 {
		t.shift("shl", 8, d, v, by)
	} else {
		t.shift("ushr", 8, d, v, -by)
	}
}

// dotNibbles multiplies 32 k of nibbles; a table says what they stand for, if it is
// not nil.
func (t *tile) dotNibbles(r, disp int, mask vec, table *vec) {
	for j := range 4 {
		v := t.dword(r, disp+128*j)
		w := t.nibbles(v, mask)
		if table != nil {
			t.table(w[0], *table, w[0])
			t.table(w[1], *table, w[1])
		}
		t.multiply(r, w, j, 4+j)
		t.free(w[:]...)
	}
}

// dotFives is dotNibbles with a fifth bit each in the dword behind: bit 2j of a byte
// belongs to a low half of dword j, bit 2j+1 to the high half.
func (t *tile) dotFives(r, disp int, mask, fifth vec) {
	top := t.dword(r, disp+512)
	for j := range 4 {
		v := t.dword(r, disp+128*j)
		w := t.nibbles(v, mask)
		t.orBits(w[0], top, fifth, 4-2*j)
		t.orBits(w[1], top, fifth, 3-2*j)
		t.multiply(r, w, j, 4+j)
		t.free(w[:]...)
	}
	t.free(top)
}

// dotBytes multiplies 32 k of bytes with 128 added, which get their sign back.
func (t *tile) dotBytes(r, disp int, sign vec) {
	for j := 0; j < 8; j += 2 {
		w := [2]vec{t.dword(r, disp+128*j), t.dword(r, disp+128*j+128)}
		t.op("eor", w[0], w[0], sign)
		t.op("eor", w[1], w[1], sign)
		t.multiply(r, w, j, j+1)
		t.free(w[:]...)
	}
}

// halves loads four float16 scales of a row of registers.
func (t *tile) halves(r, disp int) vec {
	d := t.v()
	t.load8(d, t.s, disp+8*r)
	t.op("fcvtl", d, d)
	return d
}

// outAt is where the sums of a register are behind dst.
func (t *tile) outAt(r, c int) int { return 128*c + 16*r }
