package main

import "fmt"

// floatFormat is weights of one value each.
type floatFormat struct {
	name  string
	bytes int // of one value
}

var floatFormats = []floatFormat{{"f32", 4}, {"f16", 2}, {"bf16", 2}}

// kernelFloat does sum = sum + w·x, each operation rounded by itself, for 32 rows × 1
// column, 16 × 2 or 16 × 4 at a time; the sums of such a strip stay in registers over
// all k.
func (a *asm) kernelFloat(f floatFormat, cols int) {
	a.function(fmt.Sprintf("%sNEONx%d", f.name, cols), 0, tileParams, "")
	a.declare("adds one panel × columns.")
	w, list, dst, n := a.arg("w"), a.arg("x"), a.arg("dst"), a.arg("blocks")
	rows := map[int]int{1: 8, 2: 4, 4: 4}[cols]
	from, left := a.gp(), a.gp()
	x := make([]gp, cols)
	for c := range x {
		x[c] = a.gp()
	}
	a.linef("CBZ %v, done", n)
	a.fixed(8/rows, func() {
		a.move(from, w)
		a.move(left, n)
		for c := range x {
			a.linef("MOVD %d(%v), %v", 8*c, list, x[c])
		}
		a.floatStrip(f, rows, from, left, dst, x)
		a.add(w, 4*rows*f.bytes)
		a.add(dst, 16*rows)
	})
	a.done()
}

func (a *asm) floatStrip(f floatFormat, rows int, from, left, dst gp, x []gp) {
	sum := make([][]vec, len(x))
	for c := range x {
		sum[c] = a.some(rows)
		for r, v := range sum[c] {
			a.load(v, dst, 128*c+16*r)
		}
	}
	a.repeat(left, 1, func() {
		v := a.some(len(x))
		for c := range x {
			a.next(v[c], x[c])
		}
		for r := 0; r < rows; r += 2 {
			w := a.floatPair(f, from, r)
			for c := range x {
				for i := range w {
					p := a.v()
					a.op("fmul", p, w[i], v[c])
					a.op("fadd", sum[c][r+i], sum[c][r+i], p)
					a.free(p)
				}
			}
			a.free(w[:]...)
		}
		a.add(from, panelRows*f.bytes)
		a.free(v...)
	})
	for c := range x {
		for r, v := range sum[c] {
			a.store(v, dst, 128*c+16*r)
		}
		a.free(sum[c]...)
	}
}

// floatPair loads one k of eight rows.
func (a *asm) floatPair(f floatFormat, from gp, r int) (w [2]vec) {
	w = [2]vec{a.v(), a.v()}
	a.load(w[0], from, 4*f.bytes*r)
	switch f.name {
	case "f32":
		a.load(w[1], from, 16*r+16)
	case "f16":
		a.op("fcvtl2", w[1], w[0])
		a.op("fcvtl", w[0], w[0])
	default:
		a.op("shll2", w[1], w[0])
		a.op("shll", w[0], w[0])
	}
	return w
}
