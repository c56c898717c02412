package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Packing puts dword i of 32 rows side by side: transpositions of eight rows at a time.

func pack256() {
	transpose(8)
	transpose(4)
}

// transpose writes the function for blocks that have words dwords of values in a row.
func transpose(words int) {
	p := function(fmt.Sprintf("transpose%dAVX2", words), "func(dst, src *byte, rowBytes, step, block, n int, flip uint32)",
		fmt.Sprintf("puts %d dwords of 32 rows, xor flip, side by side, for n blocks that follow each other by step and block bytes.", words),
		"dst", "src", "rowBytes", "step", "block", "n")
	dst, src, row, step, block, n := p[0], p[1], p[2], p[3], p[4], p[5]
	flip := YMM()
	VBROADCASTSS(NewParamAddr("flip", 48), flip)
	from := GP64()
	Label("loop")
	MOVQ(src, from)
	for group := range 4 {
		var out []VecVirtual
		if words == 8 {
			out = eightByEight(from, row)
		} else {
			out = eightByFour(from, row)
		}
		for i, v := range out {
			VPXOR(flip, v, v)
			VMOVDQU(v, Mem{Base: dst, Disp: 128*i + 32*group})
		}
	}
	ADDQ(step, src)
	ADDQ(block, dst)
	DECQ(n)
	JNE(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// eightByEight loads eight dwords of each of eight rows and transposes them. from
// moves on behind the rows.
func eightByEight(from, row GPVirtual) []VecVirtual {
	var r, t, u [8]VecVirtual
	for i := range r {
		r[i] = YMM()
		VMOVDQU(Mem{Base: from}, r[i])
		ADDQ(row, from)
	}
	for i := range 4 {
		t[2*i], t[2*i+1] = YMM(), YMM()
		VPUNPCKLDQ(r[2*i+1], r[2*i], t[2*i])
		VPUNPCKHDQ(r[2*i+1], r[2*i], t[2*i+1])
	}
	for i := range 2 { // quarters of four rows: dwords 0 and 4, 1 and 5, …
		for j := range 2 {
			lo, hi := t[4*i+j], t[4*i+j+2]
			u[4*i+2*j], u[4*i+2*j+1] = YMM(), YMM()
			VPUNPCKLQDQ(hi, lo, u[4*i+2*j])
			VPUNPCKHQDQ(hi, lo, u[4*i+2*j+1])
		}
	}
	out := make([]VecVirtual, 8)
	for i := range 4 {
		out[i], out[4+i] = YMM(), YMM()
		VPERM2I128(Imm(0x20), u[4+i], u[i], out[i])
		VPERM2I128(Imm(0x31), u[4+i], u[i], out[4+i])
	}
	return out
}

// eightByFour is eightByEight for four dwords: rows r and r+4 share a register.
func eightByFour(from, row GPVirtual) []VecVirtual {
	var r, t [4]VecVirtual
	far := GP64()
	MOVQ(from, far)
	for range 4 {
		ADDQ(row, far)
	}
	for i := range r {
		near := XMM()
		r[i] = YMM()
		VMOVDQU(Mem{Base: from}, near)
		VINSERTI128(Imm(1), Mem{Base: far}, near.AsY(), r[i])
		ADDQ(row, from)
		ADDQ(row, far)
	}
	MOVQ(far, from)
	for i := range 2 {
		t[2*i], t[2*i+1] = YMM(), YMM()
		VPUNPCKLDQ(r[2*i+1], r[2*i], t[2*i])
		VPUNPCKHDQ(r[2*i+1], r[2*i], t[2*i+1])
	}
	out := make([]VecVirtual, 4)
	for j := range 2 {
		out[2*j], out[2*j+1] = YMM(), YMM()
		VPUNPCKLQDQ(t[j+2], t[j], out[2*j])
		VPUNPCKHQDQ(t[j+2], t[j], out[2*j+1])
	}
	return out
}
