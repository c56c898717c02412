package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// expPoly is the polynomial of exp32 in vector.go, from r⁷ down to r⁰.
var expPoly = []float32{1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1, 1, 1}

const (
	expLow, expHigh, log2e, magic = -87.33654, 88.37626, 1.4426950408889634, 0x1.8p23
	ln2hi, ln2lo                  = -0x1.62e400p-1, -0x1.7f7d1cp-20
	geluCube, geluScale           = 0.044715, -2 * 0.7978845608028654
)

func float(v float32) Mem { return word(math.Float32bits(v)) }

// exp512 replaces x by its exponential.
func exp512(x VecVirtual) {
	n, r, p, keep := ZMM(), ZMM(), ZMM(), K()
	VCMPPS_BCST(Imm(13), float(expLow), x, keep) // x ≥ low; else the result is 0
	VMAXPS_BCST(float(expLow), x, x)
	VMINPS_BCST(float(expHigh), x, x)
	VBROADCASTSS(float(magic), n)
	VFMADD231PS_BCST(float(log2e), x, n)
	VSUBPS_BCST(float(magic), n, r)
	VFMADD231PS_BCST(float(ln2hi), r, x)
	VFMADD231PS_BCST(float(ln2lo), r, x)
	VBROADCASTSS(float(expPoly[0]), p)
	for _, v := range expPoly[1:] {
		VFMADD213PS_BCST(float(v), x, p)
	}
	VPSLLD(Imm(23), n, n)
	VPADDD_Z(n, p, keep, x)
}

func elementwise512() {
	expKernel512()
	activations512()
	cap512()
	squares512()
	scale512()
	quantize32x512()
	quantize256x512()
	maxAbs512()
}

// function begins one, and loads its pointers.
func function(name, sig, doc string, pointers ...string) (p []GPVirtual) {
	TEXT(name, NOSPLIT, sig)
	Doc(name + " " + doc)
	Pragma("noescape")
	for _, s := range pointers {
		p = append(p, Load(Param(s), GP64()).(GPVirtual))
	}
	return p
}

// walk is the end of a loop over n values, bytes of each pointer per round.
func walk(n Register, perRound uint64, bytes uint32, pointers ...GPVirtual) {
	for _, p := range pointers {
		ADDQ(U32(bytes), p)
	}
	SUBQ(Imm(perRound), n)
	JG(LabelRef("loop"))
	VZEROUPPER()
}

func expKernel512() {
	p := function("expSumAVX512", "func(x *float32, sums *[16]float32, top float32, n int)",
		"takes n, a positive multiple of 16.", "x", "sums", "n")
	top, sum := ZMM(), ZMM()
	VBROADCASTSS(NewParamAddr("top", 16), top)
	VMOVUPS(Mem{Base: p[1]}, sum)
	Label("loop")
	v := ZMM()
	VMOVUPS(Mem{Base: p[0]}, v)
	VSUBPS(top, v, v)
	exp512(v)
	VADDPS(v, sum, sum)
	VMOVUPS(v, Mem{Base: p[0]})
	ADDQ(Imm(64), p[0])
	SUBQ(Imm(16), p[2])
	JG(LabelRef("loop"))
	VMOVUPS(sum, Mem{Base: p[1]})
	VZEROUPPER()
	RET()
}

// activations512 are the functions between the matrices of an MLP, each alone and
// times y. Their order of operations is that of activation.go.
func activations512() {
	gate512("silu", silu512)
	gate512("gelu", gelu512)
}

// gate512 writes dst = f(x) and dst = f(x) · y.
func gate512(name string, f func(x VecVirtual)) {
	p := function(name+"AVX512", "func(dst, x *float32, n int)", "takes n, a positive multiple of 16.", "dst", "x", "n")
	Label("loop")
	v := ZMM()
	VMOVUPS(Mem{Base: p[1]}, v)
	f(v)
	VMOVUPS(v, Mem{Base: p[0]})
	walk(p[2], 16, 64, p[0], p[1])
	RET()

	p = function(name+"MulAVX512", "func(dst, x, y *float32, n int)", "takes n, a positive multiple of 16.", "dst", "x", "y", "n")
	Label("loop")
	v = ZMM()
	VMOVUPS(Mem{Base: p[1]}, v)
	f(v)
	VMULPS(Mem{Base: p[2]}, v, v)
	VMOVUPS(v, Mem{Base: p[0]})
	walk(p[3], 16, 64, p[0], p[1], p[2])
	RET()
}

// silu512: x / (1 + exp(−x)).
func silu512(x VecVirtual) {
	e := ZMM()
	VPXORD_BCST(word(1<<31), x, e)
	sigmoid512(x, e)
}

// gelu512: x / (1 + exp(−2·√(2/π)·(x + 0.044715·x³))).
func gelu512(x VecVirtual) {
	e := ZMM()
	VMULPS(x, x, e)
	VMULPS(x, e, e)
	VMULPS_BCST(float(geluCube), e, e)
	VADDPS(e, x, e)
	VMULPS_BCST(float(geluScale), e, e)
	sigmoid512(x, e)
}

// sigmoid512 divides x by 1 + exp(e).
func sigmoid512(x, e VecVirtual) {
	exp512(e)
	VADDPS_BCST(float(1), e, e)
	VDIVPS(e, x, x)
}

// cap512: limit · tanh(x · scale / limit), tanh being 1 − 2/(e^2|u|+1) with u's sign.
func cap512() {
	p := function("capAVX512", "func(x *float32, scale, limit float32, n int)",
		"sets x = limit · tanh(x · scale / limit) for n values, a positive multiple of 16.", "x", "n")
	scale, limit := ZMM(), ZMM()
	VBROADCASTSS(NewParamAddr("scale", 8), scale)
	VBROADCASTSS(NewParamAddr("limit", 12), limit)
	Label("loop")
	u, e, one := ZMM(), ZMM(), ZMM()
	VMULPS(Mem{Base: p[0]}, scale, u)
	VDIVPS(limit, u, u)
	VPANDD_BCST(word(1<<31-1), u, e)
	VADDPS(e, e, e)
	exp512(e)
	VBROADCASTSS(float(1), one)
	VADDPS(one, e, e)
	t := ZMM()
	VBROADCASTSS(float(2), t)
	VDIVPS(e, t, t)
	VSUBPS(t, one, t)
	VPANDD_BCST(word(1<<31), u, u)
	VPXORD(u, t, t)
	VMULPS(limit, t, t)
	VMOVUPS(t, Mem{Base: p[0]})
	walk(p[1], 16, 64, p[0])
	RET()
}

func squares512() {
	p := function("squaresAVX512", "func(x *float32, sums *[16]float32, n int)",
		"adds n squares, n a positive multiple of 16.", "x", "sums", "n")
	sum := ZMM()
	VMOVUPS(Mem{Base: p[1]}, sum)
	Label("loop")
	v := ZMM()
	VMOVUPS(Mem{Base: p[0]}, v)
	VMULPS(v, v, v)
	VADDPS(v, sum, sum)
	ADDQ(Imm(64), p[0])
	SUBQ(Imm(16), p[2])
	JG(LabelRef("loop"))
	VMOVUPS(sum, Mem{Base: p[1]})
	VZEROUPPER()
	RET()
}

func scale512() {
	p := function("scaleMulAVX512", "func(dst, x, w *float32, scale float32, n int)",
		"sets dst = x · scale · w; n is a positive multiple of 16.", "dst", "x", "w", "n")
	scale := ZMM()
	VBROADCASTSS(NewParamAddr("scale", 24), scale)
	Label("loop")
	v := ZMM()
	VMULPS(Mem{Base: p[1]}, scale, v)
	VMULPS(Mem{Base: p[2]}, v, v)
	VMOVUPS(v, Mem{Base: p[0]})
	walk(p[3], 16, 64, p[0], p[1], p[2])
	RET()
}

// quantize32x512 is Act32.quantize for n blocks. Sizes are compared as
// integers, so that a NaN is the largest of all.
func quantize32x512() {
	p := function("quantize32AVX512", "func(dst *byte, x *float32, n int)",
		"quantises n blocks of 32, at least one.", "dst", "x", "n")
	dst, x, n := p[0], p[1], p[2]
	Label("loop")
	a, b, m, t := ZMM(), ZMM(), ZMM(), ZMM()
	VMOVUPS(Mem{Base: x}, a)
	VMOVUPS(Mem{Base: x, Disp: 64}, b)
	VPANDD_BCST(word(0x7fffffff), a, m)
	VPANDD_BCST(word(0x7fffffff), b, t)
	VPMAXSD(t, m, m)
	fold512(m, func(h, l Op) { VPMAXSD(h, l, l) })
	inv := scale32(dst, m.AsX())
	s := ZMM()
	VBROADCASTSS(inv, s)
	VMULPS(s, a, a)
	VMULPS(s, b, b)
	VCVTPS2DQ(a, a)
	VCVTPS2DQ(b, b)
	VPMOVDB(a, Mem{Base: dst, Disp: xQuants})
	VPMOVDB(b, Mem{Base: dst, Disp: xQuants + 16})
	VPADDD(b, a, a)
	fold512(a, func(h, l Op) { VPADDD(h, l, l) })
	corrections(dst, a.AsX())
	ADDQ(U32(128), x)
	ADDQ(Imm(xSize), dst)
	DECQ(n)
	JNE(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// scale32 stores the scale of a block whose largest value is top, and returns
// what values are multiplied with.
func scale32(dst Register, top Register) VecVirtual {
	d, inv, zero, isZero := XMM(), XMM(), XMM(), XMM()
	VDIVSS(float(127), top, d)
	VMOVSS(float(127), inv)
	VDIVSS(top, inv, inv)
	VXORPS(zero, zero, zero)
	VCMPSS(Imm(0), zero, top, isZero)
	VANDNPS(inv, isZero, inv)
	VCVTPS2PH(Imm(0), d, d)
	VCVTPH2PS(d, d)
	VMOVSS(d, Mem{Base: dst})
	return inv
}

// corrections stores −8, −16 and −128 times the sum in the lowest lane.
func corrections(dst, lane Register) {
	sum := GP32()
	VMOVD(lane, sum)
	NEGL(sum)
	SHLL(Imm(3), sum)
	MOVL(sum, Mem{Base: dst, Disp: xCorr8})
	ADDL(sum, sum)
	MOVL(sum, Mem{Base: dst, Disp: xCorr16})
	SHLL(Imm(3), sum)
	MOVL(sum, Mem{Base: dst, Disp: xCorr128})
}

// quantize256x512 writes D, Corr32 and Q of Act256, whose largest value is not 0.
func quantize256x512() {
	p := function("quantize256AVX512", "func(dst *byte, x *float32, top float32)",
		"quantises one block whose value of the largest size is top.", "dst", "x")
	dst, x := p[0], p[1]
	inv := inverse256(dst)
	s := ZMM()
	VBROADCASTSS(inv, s)
	ones := constant(0x01010101)
	for i := range 4 { // 64 values
		for j := range 4 {
			v := ZMM()
			VMULPS(Mem{Base: x, Disp: 256*i + 64*j}, s, v)
			VCVTPS2DQ(v, v)
			VPMINSD_BCST(word(127), v, v)
			VPMOVDB(v, Mem{Base: dst, Disp: kQuants + 64*i + 16*j})
		}
	}
	for i := range 4 {
		sum, t := ZMM(), ZMM()
		VPXORD(sum, sum, sum)
		VPDPBUSD(Mem{Base: dst, Disp: kQuants + 64*i}, ones, sum)
		VPSHUFD(Imm(0x4e), sum, t)
		VPADDD(t, sum, sum)
		VPSHUFD(Imm(0xb1), sum, t)
		VPADDD(t, sum, sum) // all dwords of a 16-byte lane are its sum
		storeCorr(dst, sum, i)
	}
	VZEROUPPER()
	RET()
}

// inverse256 stores D and returns its inverse.
func inverse256(dst Register) VecVirtual {
	inv, one := XMM(), XMM()
	VMOVSS(float(-127), inv)
	VDIVSS(NewParamAddr("top", 16), inv, inv)
	VMOVSS(float(1), one)
	VDIVSS(inv, one, one)
	VMOVSS(one, Mem{Base: dst})
	return inv
}

// storeCorr stores −32 times the sums of four lanes.
func storeCorr(dst Register, sum VecVirtual, i int) {
	y, a, b := YMM(), XMM(), XMM()
	VPMULLD_BCST(word(0xffffffe0), sum, sum)
	VEXTRACTI64X4(Imm(1), sum, y)
	at := kCorr32 + 16*i
	VEXTRACTI128(Imm(1), sum.AsY(), a)
	VEXTRACTI128(Imm(1), y, b)
	VMOVD(sum.AsX(), Mem{Base: dst, Disp: at})
	VMOVD(a, Mem{Base: dst, Disp: at + 4})
	VMOVD(y.AsX(), Mem{Base: dst, Disp: at + 8})
	VMOVD(b, Mem{Base: dst, Disp: at + 12})
}

// fold512 reduces 16 lanes to one: 8, 4, 2, 1 apart.
func fold512(z VecVirtual, op func(h, l Op)) {
	y := YMM()
	VEXTRACTF64X4(Imm(1), z, y)
	op(y, z.AsY())
	fold256(z, op)
}

// fold256 reduces 8 lanes to one.
func fold256(v VecVirtual, op func(h, l Op)) {
	x := XMM()
	VEXTRACTF128(Imm(1), v.AsY(), x)
	op(x, v.AsX())
	VPSHUFD(Imm(0x4e), v.AsX(), x)
	op(x, v.AsX())
	VPSHUFD(Imm(0xb1), v.AsX(), x)
	op(x, v.AsX())
}

// maxAbs512 returns the bits of the largest size, that of a NaN before all others.
func maxAbs512() {
	p := function("maxAbsAVX512", "func(x *float32, n int) uint32",
		"takes n, a positive multiple of 16.", "x", "n")
	m, v := ZMM(), ZMM()
	VPXORD(m, m, m)
	Label("loop")
	VMOVDQU32(Mem{Base: p[0]}, v)
	VPANDD_BCST(word(0x7fffffff), v, v)
	VPMAXSD(v, m, m)
	ADDQ(Imm(64), p[0])
	SUBQ(Imm(16), p[1])
	JG(LabelRef("loop"))
	fold512(m, func(h, l Op) { VPMAXSD(h, l, l) })
	top := GP32()
	VMOVD(m.AsX(), top)
	VZEROUPPER()
	Store(top, ReturnIndex(0))
	RET()
}
