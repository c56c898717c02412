package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func float256(v float32) Mem { return words256(math.Float32bits(v)) }

// exp256 replaces x by its exponential.
func exp256(x VecVirtual) {
	n, r, p, keep := YMM(), YMM(), YMM(), YMM()
	VCMPPS(Imm(13), float256(expLow), x, keep)
	VMAXPS(float256(expLow), x, x)
	VMINPS(float256(expHigh), x, x)
	VMOVUPS(float256(magic), n)
	VFMADD231PS(float256(log2e), x, n)
	VSUBPS(float256(magic), n, r)
	VFMADD231PS(float256(ln2hi), r, x)
	VFMADD231PS(float256(ln2lo), r, x)
	VMOVUPS(float256(expPoly[0]), p)
	for _, v := range expPoly[1:] {
		VFMADD213PS(float256(v), x, p)
	}
	VPSLLD(Imm(23), n, n)
	VPADDD(n, p, x)
	VPAND(keep, x, x)
}

func elementwise256() {
	expKernel256()
	activations256()
	cap256()
	ropeSplit256()
	squares256()
	scale256()
	quantize32x256()
	quantize256x256()
	maxAbs256()
	max256()
	add256()
	rope256()
}

func expKernel256() {
	p := function("expSumAVX2", "func(x *float32, sums *[16]float32, top float32, n int)",
		"takes n, a positive multiple of 16.", "x", "sums", "n")
	top := YMM()
	VBROADCASTSS(NewParamAddr("top", 16), top)
	sum := loadSums(p[1])
	Label("loop")
	for i := range 2 {
		v := YMM()
		VMOVUPS(Mem{Base: p[0], Disp: 32 * i}, v)
		VSUBPS(top, v, v)
		exp256(v)
		VADDPS(v, sum[i], sum[i])
		VMOVUPS(v, Mem{Base: p[0], Disp: 32 * i})
	}
	endSums(p, sum)
}

func loadSums(from Register) (sum [2]VecVirtual) {
	for i := range sum {
		sum[i] = YMM()
		VMOVUPS(Mem{Base: from, Disp: 32 * i}, sum[i])
	}
	return sum
}

// endSums ends a loop over x (p[0]) that counts p[2] down and has sums at p[1].
func endSums(p []GPVirtual, sum [2]VecVirtual) {
	ADDQ(Imm(64), p[0])
	SUBQ(Imm(16), p[2])
	JG(LabelRef("loop"))
	for i := range sum {
		VMOVUPS(sum[i], Mem{Base: p[1], Disp: 32 * i})
	}
	VZEROUPPER()
	RET()
}

func activations256() {
	gate256("silu", silu256)
	gate256("gelu", gelu256)
}

// gate256 writes dst = f(x) and dst = f(x) · y.
func gate256(name string, f func(x VecVirtual)) {
	p := function(name+"AVX2", "func(dst, x *float32, n int)", "takes n, a positive multiple of 16.", "dst", "x", "n")
	Label("loop")
	for i := range 2 {
		v := YMM()
		VMOVUPS(Mem{Base: p[1], Disp: 32 * i}, v)
		f(v)
		VMOVUPS(v, Mem{Base: p[0], Disp: 32 * i})
	}
	walk(p[2], 16, 64, p[0], p[1])
	RET()

	p = function(name+"MulAVX2", "func(dst, x, y *float32, n int)", "takes n, a positive multiple of 16.", "dst", "x", "y", "n")
	Label("loop")
	for i := range 2 {
		v := YMM()
		VMOVUPS(Mem{Base: p[1], Disp: 32 * i}, v)
		f(v)
		VMULPS(Mem{Base: p[2], Disp: 32 * i}, v, v)
		VMOVUPS(v, Mem{Base: p[0], Disp: 32 * i})
	}
	walk(p[3], 16, 64, p[0], p[1], p[2])
	RET()
}

func silu256(x VecVirtual) {
	e := YMM()
	VPXOR(words256(1<<31), x, e)
	sigmoid256(x, e)
}

func gelu256(x VecVirtual) {
	e := YMM()
	VMULPS(x, x, e)
	VMULPS(x, e, e)
	VMULPS(float256(geluCube), e, e)
	VADDPS(e, x, e)
	VMULPS(float256(geluScale), e, e)
	sigmoid256(x, e)
}

func sigmoid256(x, e VecVirtual) {
	exp256(e)
	VADDPS(float256(1), e, e)
	VDIVPS(e, x, x)
}

func cap256() {
	p := function("capAVX2", "func(x *float32, scale, limit float32, n int)",
		"sets x = limit · tanh(x · scale / limit) for n values, a positive multiple of 16.", "x", "n")
	scale, limit := YMM(), YMM()
	VBROADCASTSS(NewParamAddr("scale", 8), scale)
	VBROADCASTSS(NewParamAddr("limit", 12), limit)
	Label("loop")
	for i := range 2 {
		u, e, one, t := YMM(), YMM(), YMM(), YMM()
		VMULPS(Mem{Base: p[0], Disp: 32 * i}, scale, u)
		VDIVPS(limit, u, u)
		VPAND(words256(1<<31-1), u, e)
		VADDPS(e, e, e)
		exp256(e)
		VMOVUPS(float256(1), one)
		VADDPS(one, e, e)
		VMOVUPS(float256(2), t)
		VDIVPS(e, t, t)
		VSUBPS(t, one, t)
		VPAND(words256(1<<31), u, u)
		VPXOR(u, t, t)
		VMULPS(limit, t, t)
		VMOVUPS(t, Mem{Base: p[0], Disp: 32 * i})
	}
	walk(p[1], 16, 64, p[0])
	RET()
}

// ropeSplit256: (a, b) of two places becomes (a·cos − b·sin, a·sin + b·cos). Cosines and
// sines alternate; eight of each are put together by lanes, and then in order.
func ropeSplit256() {
	p := function("ropeSplitAVX2", "func(x, y, turn *float32, n int)",
		"turns n pairs, a positive multiple of 16, half of each from x and from y.", "x", "y", "turn", "n")
	Label("loop")
	for i := range 2 {
		lo, hi, cos, sin := YMM(), YMM(), YMM(), YMM()
		VMOVUPS(Mem{Base: p[2], Disp: 64 * i}, lo)
		VMOVUPS(Mem{Base: p[2], Disp: 64*i + 32}, hi)
		VSHUFPS(Imm(0x88), hi, lo, cos)
		VSHUFPS(Imm(0xdd), hi, lo, sin)
		VPERMPD(Imm(0xd8), cos, cos)
		VPERMPD(Imm(0xd8), sin, sin)
		a, b, t, u := YMM(), YMM(), YMM(), YMM()
		VMOVUPS(Mem{Base: p[0], Disp: 32 * i}, a)
		VMOVUPS(Mem{Base: p[1], Disp: 32 * i}, b)
		VMULPS(cos, a, t)
		VMULPS(sin, b, u)
		VSUBPS(u, t, t)
		VMOVUPS(t, Mem{Base: p[0], Disp: 32 * i})
		VMULPS(sin, a, t)
		VMULPS(cos, b, u)
		VADDPS(u, t, t)
		VMOVUPS(t, Mem{Base: p[1], Disp: 32 * i})
	}
	ADDQ(U32(64), p[2])
	walk(p[3], 16, 64, p[0], p[1], p[2])
	RET()
}

func squares256() {
	p := function("squaresAVX2", "func(x *float32, sums *[16]float32, n int)",
		"adds n squares, n a positive multiple of 16.", "x", "sums", "n")
	sum := loadSums(p[1])
	Label("loop")
	for i := range sum {
		v := YMM()
		VMOVUPS(Mem{Base: p[0], Disp: 32 * i}, v)
		VMULPS(v, v, v)
		VADDPS(v, sum[i], sum[i])
	}
	endSums(p, sum)
}

func scale256() {
	p := function("scaleMulAVX2", "func(dst, x, w *float32, scale float32, n int)",
		"sets dst = x · scale · w; n is a positive multiple of 16.", "dst", "x", "w", "n")
	scale := YMM()
	VBROADCASTSS(NewParamAddr("scale", 24), scale)
	Label("loop")
	for i := range 2 {
		v := YMM()
		VMULPS(Mem{Base: p[1], Disp: 32 * i}, scale, v)
		VMULPS(Mem{Base: p[2], Disp: 32 * i}, v, v)
		VMOVUPS(v, Mem{Base: p[0], Disp: 32 * i})
	}
	walk(p[3], 16, 64, p[0], p[1], p[2])
	RET()
}

func quantize32x256() {
	p := function("quantize32AVX2", "func(dst *byte, x *float32, n int)",
		"quantises n blocks of 32, at least one.", "dst", "x", "n")
	dst, x, n := p[0], p[1], p[2]
	Label("loop")
	m := YMM()
	VPXOR(m, m, m)
	var v [4]VecVirtual
	for i := range v {
		v[i] = YMM()
		t := YMM()
		VMOVUPS(Mem{Base: x, Disp: 32 * i}, v[i])
		VPAND(words256(0x7fffffff), v[i], t)
		VPMAXSD(t, m, m)
	}
	fold256(m, func(h, l Op) { VPMAXSD(h, l, l) })
	inv := scale32(dst, m.AsX())
	s, sum := YMM(), YMM()
	VBROADCASTSS(inv, s)
	VPXOR(sum, sum, sum)
	for i := range v {
		VMULPS(s, v[i], v[i])
		VCVTPS2DQ(v[i], v[i])
		VPADDD(v[i], sum, sum)
	}
	VMOVDQU(bytes256(v), Mem{Base: dst, Disp: xQuants})
	fold256(sum, func(h, l Op) { VPADDD(h, l, l) })
	corrections(dst, sum.AsX())
	ADDQ(U32(128), x)
	ADDQ(Imm(xSize), dst)
	DECQ(n)
	JNE(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// bytes256 takes the lowest bytes of 32 dwords, in order, into the first.
func bytes256(v [4]VecVirtual) VecVirtual {
	for i := range v {
		VPAND(words256(0xff), v[i], v[i])
	}
	VPACKUSDW(v[1], v[0], v[0])
	VPACKUSDW(v[3], v[2], v[2])
	VPACKUSWB(v[2], v[0], v[0])
	order := YMM()
	VMOVDQU(byteOrder(), order)
	VPERMD(v[0], order, v[0])
	return v[0]
}

var orderMem *Mem

// byteOrder undoes how packing mixes the halves of registers.
func byteOrder() Mem {
	if orderMem == nil {
		m := GLOBL("byteOrder", RODATA|NOPTR)
		for i, v := range []uint32{0, 4, 1, 5, 2, 6, 3, 7} {
			DATA(4*i, U32(v))
		}
		orderMem = &m
	}
	return *orderMem
}

func quantize256x256() {
	p := function("quantize256AVX2", "func(dst *byte, x *float32, top float32)",
		"quantises one block whose value of the largest size is top.", "dst", "x")
	dst, x := p[0], p[1]
	inv := inverse256(dst)
	s := YMM()
	VBROADCASTSS(inv, s)
	for i := range 8 { // 32 values
		var v [4]VecVirtual
		for j := range v {
			v[j] = YMM()
			VMULPS(Mem{Base: x, Disp: 128*i + 32*j}, s, v[j])
			VCVTPS2DQ(v[j], v[j])
			VPMINSD(words256(127), v[j], v[j])
		}
		VMOVDQU(bytes256(v), Mem{Base: dst, Disp: kQuants + 32*i})
	}
	ones, shorts := YMM(), YMM()
	VMOVDQU(words256(0x01010101), ones)
	VMOVDQU(words256(0x00010001), shorts)
	for i := range 8 {
		sum, t := YMM(), YMM()
		VPMADDUBSW(Mem{Base: dst, Disp: kQuants + 32*i}, ones, sum)
		VPMADDWD(shorts, sum, sum)
		VPSHUFD(Imm(0x4e), sum, t)
		VPADDD(t, sum, sum)
		VPSHUFD(Imm(0xb1), sum, t)
		VPADDD(t, sum, sum)
		VPMULLD(words256(0xffffffe0), sum, sum)
		high := XMM()
		VEXTRACTI128(Imm(1), sum, high)
		VMOVD(sum.AsX(), Mem{Base: dst, Disp: kCorr32 + 8*i})
		VMOVD(high, Mem{Base: dst, Disp: kCorr32 + 8*i + 4})
	}
	VZEROUPPER()
	RET()
}

// max256 keeps the largest of every sixteenth value; a lane that has seen a NaN
// becomes one.
func max256() {
	p := function("maxAVX2", "func(x *float32, lanes *[16]float32, n int)",
		"takes n, a positive multiple of 16.", "x", "lanes", "n")
	top := loadSums(p[1])
	nan := [2]VecVirtual{YMM(), YMM()}
	for _, v := range nan {
		VPXOR(v, v, v)
	}
	Label("loop")
	for i := range top {
		v, unordered := YMM(), YMM()
		VMOVUPS(Mem{Base: p[0], Disp: 32 * i}, v)
		VMAXPS(v, top[i], top[i])
		VCMPPS(Imm(3), v, v, unordered)
		VORPS(unordered, nan[i], nan[i])
	}
	ADDQ(Imm(64), p[0])
	SUBQ(Imm(16), p[2])
	JG(LabelRef("loop"))
	for i := range top {
		VORPS(nan[i], top[i], top[i])
		VMOVUPS(top[i], Mem{Base: p[1], Disp: 32 * i})
	}
	VZEROUPPER()
	RET()
}

func add256() {
	p := function("addAVX2", "func(dst, x *float32, n int)",
		"takes n, a positive multiple of 16.", "dst", "x", "n")
	Label("loop")
	for i := range 2 {
		v := YMM()
		VMOVUPS(Mem{Base: p[0], Disp: 32 * i}, v)
		VADDPS(Mem{Base: p[1], Disp: 32 * i}, v, v)
		VMOVUPS(v, Mem{Base: p[0], Disp: 32 * i})
	}
	walk(p[2], 16, 64, p[0], p[1])
	RET()
}

// rope256: (a, b)·cos ∓ (b, a)·sin.
func rope256() {
	p := function("ropePairsAVX2", "func(x, turn *float32, n int)",
		"turns n values, a positive multiple of 8.", "x", "turn", "n")
	Label("loop")
	v, w, cos, sin := YMM(), YMM(), YMM(), YMM()
	VMOVUPS(Mem{Base: p[0]}, v)
	VMOVSLDUP(Mem{Base: p[1]}, cos)
	VMOVSHDUP(Mem{Base: p[1]}, sin)
	VPERMILPS(Imm(0xb1), v, w)
	VMULPS(cos, v, v)
	VMULPS(sin, w, w)
	VADDSUBPS(w, v, v)
	VMOVUPS(v, Mem{Base: p[0]})
	walk(p[2], 8, 32, p[0], p[1])
	RET()
}

func maxAbs256() {
	p := function("maxAbsAVX2", "func(x *float32, n int) uint32",
		"takes n, a positive multiple of 16.", "x", "n")
	m, mask := YMM(), YMM()
	VPXOR(m, m, m)
	VMOVDQU(words256(0x7fffffff), mask)
	Label("loop")
	for i := range 2 {
		v := YMM()
		VPAND(Mem{Base: p[0], Disp: 32 * i}, mask, v)
		VPMAXSD(v, m, m)
	}
	ADDQ(Imm(64), p[0])
	SUBQ(Imm(16), p[1])
	JG(LabelRef("loop"))
	fold256(m, func(h, l Op) { VPMAXSD(h, l, l) })
	top := GP32()
	VMOVD(m.AsX(), top)
	VZEROUPPER()
	Store(top, ReturnIndex(0))
	RET()
}
