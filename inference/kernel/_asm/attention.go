package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Attention reads keys and values, float16 or float32, once for one, two or four
// queries. A register holds neighbouring tokens of one dimension, or dimensions of one
// token, so that no sum crosses lanes.

// A width is what one path has: its registers of float32, and their name.
type width struct {
	name     string
	lanes    int
	register func() VecVirtual
	deep     int // registers of keys or values that four queries leave room for
}

var widths = []width{{"AVX512", 16, ZMM, 4}, {"AVX2", 8, YMM, 2}}

// A line is how keys or values are stored: the bytes of one, and how a register of
// them is loaded.
type line struct {
	name  string
	bytes int
	load  func(from Mem, to VecVirtual)
}

var lines = []line{
	{"Half", 2, func(from Mem, to VecVirtual) { VCVTPH2PS(from, to) }},
	{"Full", 4, func(from Mem, to VecVirtual) { VMOVUPS(from, to) }},
}

func attention() {
	for _, w := range widths {
		for _, l := range lines {
			for _, queries := range []int{1, 2, 4} {
				scores(w, l, queries)
				values(w, l, queries)
			}
		}
		toHalf(w)
	}
}

// gather is the inner loop of both: acc[j][r] += x[j] · m[r], with a step of m by
// stride and of x by one value, times rounds.
func gather(label string, acc [][]VecVirtual, x []Register, m, stride, times Register, w width, l line) {
	i, at := GP64(), GP64()
	XORQ(i, i)
	MOVQ(m, at)
	Label(label)
	row := make([]VecVirtual, len(acc[0]))
	for r := range row {
		row[r] = w.register()
		l.load(Mem{Base: at, Disp: l.bytes * w.lanes * r}, row[r])
	}
	for j := range acc {
		v := w.register()
		VBROADCASTSS(Mem{Base: x[j], Index: i, Scale: 4}, v)
		for r := range row {
			VFMADD231PS(row[r], v, acc[j][r])
		}
	}
	ADDQ(stride, at)
	INCQ(i)
	CMPQ(i, times)
	JL(LabelRef(label))
}

// pointers loads the addresses that an array has.
func pointers(array Register, n int) (p []Register) {
	for j := range n {
		r := GP64()
		MOVQ(Mem{Base: array, Disp: 8 * j}, r)
		p = append(p, r)
	}
	return p
}

func accumulators(queries, registers int, w width) [][]VecVirtual {
	acc := make([][]VecVirtual, queries)
	for j := range acc {
		for range registers {
			acc[j] = append(acc[j], w.register())
		}
	}
	return acc
}

// each calls f with every accumulator and its place, off bytes into the slice of its
// query.
func each(acc [][]VecVirtual, slices, off Register, w width, f func(v VecVirtual, at Mem)) {
	for j, a := range acc {
		to := GP64()
		MOVQ(Mem{Base: slices, Disp: 8 * j}, to)
		for r, v := range a {
			f(v, Mem{Base: to, Index: off, Scale: 1, Disp: 4 * w.lanes * r})
		}
	}
}

// advance steps over what the registers of a query held: in the slices, in the lines,
// and in what is left to do.
func advance(registers int, off, lines, left Register, w width, l line) {
	ADDQ(U32(uint32(4*w.lanes*registers)), off)
	ADDQ(U32(uint32(l.bytes*w.lanes*registers)), lines)
	SUBQ(Imm(uint64(w.lanes*registers)), left)
}

// scores: s[j][t] = scale · q[j]·k[t].
func scores(w width, l line, queries int) {
	p := function(fmt.Sprintf("scores%s%sx%d", l.name, w.name, queries), "func(s, q *[4]*float32, k *byte, dim, stride, n int, scale float32)",
		"takes n tokens, a positive multiple of 16; stride is in bytes.", "s", "q", "k", "dim", "stride", "n")
	s, k, dim, stride, n := p[0], p[2], p[3], p[4], p[5]
	q := pointers(p[1], queries)
	off := GP64()
	XORQ(off, off)
	body := func(label string, registers int) {
		acc := accumulators(queries, registers, w)
		for _, a := range acc {
			for _, v := range a {
				VXORPS(v.AsX(), v.AsX(), v.AsX())
			}
		}
		gather(label, acc, q, k, stride, dim, w, l)
		scale := w.register()
		VBROADCASTSS(NewParamAddr("scale", 48), scale)
		each(acc, s, off, w, func(v VecVirtual, at Mem) {
			VMULPS(scale, v, v)
			VMOVUPS(v, at)
		})
		advance(registers, off, k, n, w, l)
	}
	Label("loop")
	if w.lanes == 16 {
		CMPQ(n, Imm(32))
		JL(LabelRef("rest"))
	}
	body("wide", 2)
	JG(LabelRef("loop"))
	if w.lanes == 16 {
		JMP(LabelRef("done"))
		Label("rest")
		body("narrow", 1)
		Label("done")
	}
	VZEROUPPER()
	RET()
}

// values: out[j] += Σ p[j][t] · v[t].
func values(w width, l line, queries int) {
	p := function(fmt.Sprintf("values%s%sx%d", l.name, w.name, queries), "func(out, p *[4]*float32, v *byte, tokens, stride, n int)",
		"adds to n dimensions, a positive multiple of 16; stride is in bytes.", "out", "p", "v", "tokens", "stride", "n")
	out, v, tokens, stride, n := p[0], p[2], p[3], p[4], p[5]
	x := pointers(p[1], queries)
	off := GP64()
	XORQ(off, off)
	body := func(label string, registers int) {
		acc := accumulators(queries, registers, w)
		each(acc, out, off, w, func(v VecVirtual, at Mem) { VMOVUPS(at, v) })
		gather(label, acc, x, v, stride, tokens, w, l)
		each(acc, out, off, w, func(v VecVirtual, at Mem) { VMOVUPS(v, at) })
		advance(registers, off, v, n, w, l)
	}
	few := 16 / w.lanes
	if w.deep > few {
		Label("loop")
		CMPQ(n, Imm(uint64(w.lanes*w.deep)))
		JL(LabelRef("rest"))
		body("wide", w.deep)
		JMP(LabelRef("loop"))
		Label("rest")
		TESTQ(n, n)
		JE(LabelRef("done"))
	}
	Label("few")
	body("narrow", few)
	JG(LabelRef("few"))
	if w.deep > few {
		Label("done")
	}
	VZEROUPPER()
	RET()
}

// toHalf rounds to the nearest float16, ties to even.
func toHalf(w width) {
	p := function("toHalf"+w.name, "func(dst *uint16, x *float32, n int)", "takes n, a positive multiple of 16.", "dst", "x", "n")
	Label("loop")
	for i := range 16 / w.lanes {
		v := w.register()
		VMOVUPS(Mem{Base: p[1], Disp: 4 * w.lanes * i}, v)
		VCVTPS2PH(Imm(0), v, Mem{Base: p[0], Disp: 2 * w.lanes * i})
	}
	ADDQ(Imm(32), p[0])
	walk(p[2], 16, 64, p[1])
	RET()
}
