package main

import (
	"fmt"

	"rbee/inference/kernel/_asm/dispatch"
)

// Attention reads keys and values, float16 or float32, once for one, two or four
// queries. A register holds four neighbouring tokens of one dimension, or dimensions of
// one token, so that no sum crosses lanes.

func (a *asm) attention() {
	for _, line := range dispatch.Lines {
		for _, queries := range []int{1, 2, 4} {
			a.attend("scores", line, queries)
			a.attend("values", line, queries)
		}
	}
}

// attender is one of the functions: over n columns of a matrix m of times rows, it does
// acc[j][column] += x[j][row]·m[row][column].
type attender struct {
	*asm
	line     string
	queries  int
	to, of   gp // arrays of pointers: results, and x
	m, off   gp // where the columns begin, and their results
	times, n gp
	stride   gp
	scale    *vec // what scores are multiplied with; values are added to
	x        []gp
	row, at  gp
	left     gp
}

func (a *asm) attend(name, line string, queries int) {
	f := dispatch.Attention[name]
	a.beginFunc(fmt.Sprintf("%s%sNEONx%d", name, line, queries), f)
	arg := func(i int) gp { return a.arg(f.Params[i].Name) }
	t := &attender{asm: a, line: line, queries: queries, to: arg(0), of: arg(1), m: arg(2), times: arg(3), stride: arg(4), n: arg(5)}
	t.off, t.row, t.at, t.left = a.gp(), a.gp(), a.gp(), a.gp()
	for range queries {
		t.x = append(t.x, a.gp())
	}
	if name == "scores" {
		scale := a.floatArg("scale")
		t.scale = &scale
	}
	a.imm(t.off, 0)
	if queries < 4 { // eight registers of sums or more, to hide how long FMLA takes
		a.linef("CMP $32, %v", t.n)
		a.line("BLT rest")
		a.text.WriteString("wide:\n")
		t.columns(8)
		a.linef("CMP $32, %v", t.n)
		a.line("BGE wide")
		a.linef("CBZ %v, done", t.n)
		a.text.WriteString("rest:\n")
	}
	a.text.WriteString("narrow:\n")
	t.columns(4)
	a.linef("CBNZ %v, narrow", t.n)
	a.done()
}

// columns does four columns for each of some registers.
func (t *attender) columns(registers int) {
	acc := make([][]vec, t.queries)
	for j := range acc {
		acc[j] = t.some(registers)
	}
	each := func(f func(v vec, disp int)) {
		for j := range acc {
			t.linef("MOVD %d(%v), %v", 8*j, t.to, t.at)
			t.linef("ADD %v, %v", t.off, t.at)
			for r, v := range acc[j] {
				f(v, 16*r)
			}
		}
	}
	if t.scale != nil {
		for j := range acc {
			for _, v := range acc[j] {
				t.zero(v)
			}
		}
	} else {
		each(func(v vec, disp int) { t.load(v, t.at, disp) })
	}
	t.gather(acc, registers)
	each(func(v vec, disp int) {
		if t.scale != nil {
			t.op("fmul", v, v, *t.scale)
		}
		t.store(v, t.at, disp)
	})
	for j := range acc {
		t.free(acc[j]...)
	}
	t.add(t.off, 16*registers)
	t.add(t.m, 4*registers*t.bytes())
	t.linef("SUB $%d, %v", 4*registers, t.n)
}

func (t *attender) bytes() int {
	if t.line == "Half" {
		return 2
	}
	return 4
}

// gather is the loop over rows.
func (t *attender) gather(acc [][]vec, registers int) {
	for j, x := range t.x {
		t.linef("MOVD %d(%v), %v", 8*j, t.of, x)
	}
	t.move(t.row, t.m)
	t.move(t.left, t.times)
	t.repeat(t.left, 1, func() {
		x := t.some(t.queries)
		for j := range x {
			t.next(x[j], t.x[j])
		}
		for r := 0; r < registers; r += 2 {
			m := t.pair(r)
			for i := range m {
				for j := range x {
					t.op("fmla", acc[j][r+i], m[i], x[j])
				}
			}
			t.free(m[:]...)
		}
		t.linef("ADD %v, %v", t.stride, t.row)
		t.free(x...)
	})
}

// pair loads eight columns of a row.
func (t *attender) pair(r int) [2]vec {
	if t.line == "Full" {
		return t.loadPair(t.row, 16*r)
	}
	m := [2]vec{t.v(), t.v()}
	t.load(m[0], t.row, 8*r)
	t.op("fcvtl2", m[1], m[0])
	t.op("fcvtl", m[0], m[0])
	return m
}

// toHalf rounds to the nearest float16, ties to even.
func (a *asm) toHalf() {
	a.beginElement("toHalf")
	dst, x, n := a.arg("dst"), a.arg("x"), a.arg("n")
	a.over(n, 16, 64, []gp{x}, func() {
		for i := 0; i < 4; i += 2 {
			v := a.loadPair(x, 16*i)
			a.op("fcvtn", v[0], v[0])
			a.op("fcvtn2", v[0], v[1])
			a.store(v[0], dst, 8*i)
			a.free(v[:]...)
		}
		a.add(dst, 32)
	})
	a.ret()
}
