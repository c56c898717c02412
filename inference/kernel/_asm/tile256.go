package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// tile256 is a tile of some octets of rows × cols: the 16 registers of AVX2
// hold four outputs. w, s and dst are already at the first octet: w + 32·octet,
// and s + 16·octet for what is stored as float16.
type tile256 struct {
	*tile
	s        Register
	octets   int
	acc, sum [][]VecVirtual // [octet][column]
}

const sig256 = "func(w, s *byte, x *[4]*byte, dst *float32, blocks int)"

func begin256(name string, octets, cols int) *tile256 {
	TEXT(name, NOSPLIT, sig256)
	Doc(name + " adds a part of one panel × columns.")
	Pragma("noescape")
	t := &tile256{tile: &tile{cols: cols}, octets: octets, s: Load(Param("s"), GP64())}
	t.loadParams()
	t.acc, t.sum = registers(octets, cols), registers(octets, cols)
	return t
}

func registers(octets, cols int) [][]VecVirtual {
	r := make([][]VecVirtual, octets)
	for o := range r {
		for range cols {
			r[o] = append(r[o], YMM())
		}
	}
	return r
}

func (t *tile256) out(o, c int) Mem   { return Mem{Base: t.dst, Disp: 128*c + 32*o} }
func (t *tile256) w8(o, disp int) Mem { return Mem{Base: t.w, Disp: disp + 32*o} }

func (t *tile256) all(f func(o, c int)) {
	for c := range t.cols {
		for o := range t.octets {
			f(o, c)
		}
	}
}

func clear256(v [][]VecVirtual) {
	for _, r := range v {
		for _, y := range r {
			VPXOR(y, y, y)
		}
	}
}

// words256 are constants of eight dwords.
var ymms = map[uint32]Mem{}

func words256(v uint32) Mem {
	if m, ok := ymms[v]; ok {
		return m
	}
	m := GLOBL(fmt.Sprintf("ymm%08x", v), RODATA|NOPTR)
	for i := range 8 {
		DATA(4*i, U32(v))
	}
	ymms[v] = m
	return m
}

// prefetch asks for what the octets of this call will read.
func (t *tile256) prefetch(disp int) {
	for i := 0; i < t.octets; i += 2 {
		PREFETCHT0(Mem{Base: t.w, Disp: disp + prefetchBytes + 32*i})
	}
}

func (t *tile256) half(disp, o int) VecVirtual {
	d := YMM()
	VCVTPH2PS(Mem{Base: t.s, Disp: disp + 16*o}, d)
	return d
}

func (t *tile256) loop(wBytes, xBytes int, body func()) {
	t.tile.loop(wBytes, xBytes, func() {
		body()
		ADDQ(U32(wBytes), t.s)
	})
}

// dot32Nibbles adds 32 k of nibbles of an octet in 16-bit sums:
// 8·2·15·127 = 30480 fits.
func (t *tile256) dot32Nibbles(o, wDisp, xDisp int, acc []VecVirtual) {
	for j := range 4 {
		lo, hi := t.nibbles256(o, wDisp+128*j)
		for i, q := range []VecVirtual{lo, hi} {
			for c := range t.cols {
				x := YMM()
				VPBROADCASTD(t.xAt(c, xDisp+16*i+4*j), x)
				VPMADDUBSW(x, q, x)
				VPADDW(x, acc[c], acc[c])
			}
		}
	}
}

func (t *tile256) nibbles256(o, disp int) (lo, hi VecVirtual) {
	lo, hi = YMM(), YMM()
	VMOVDQU(t.w8(o, disp), lo)
	VPSRLD(Imm(4), lo, hi)
	VPAND(words256(0x0f0f0f0f), lo, lo)
	VPAND(words256(0x0f0f0f0f), hi, hi)
	return lo, hi
}

// orBits256 is orBits.
func orBits256(q, top VecVirtual, mask uint32, shift int) {
	h := YMM()
	switch {
	case shift > 0:
		VPSLLD(Imm(uint64(shift)), top, h)
		VPAND(words256(mask), h, h)
	case shift < 0:
		VPSRLD(Imm(uint64(-shift)), top, h)
		VPAND(words256(mask), h, h)
	default:
		VPAND(words256(mask), top, h)
	}
	VPOR(h, q, q)
}

// pair adds two dwords of weights times activations, times the 16-bit numbers of
// scale: acc += scale·(a·x + b·x'). 4·63·127 = 32004 fits in 16 bits.
func (t *tile256) pair(a, b VecVirtual, xa, xb int, scale Op, acc []VecVirtual) {
	for c := range t.cols {
		u, v := YMM(), YMM()
		VPBROADCASTD(t.xAt(c, xa), u)
		VPBROADCASTD(t.xAt(c, xb), v)
		VPMADDUBSW(u, a, u)
		VPMADDUBSW(v, b, v)
		VPADDW(v, u, u)
		VPMADDWD(scale, u, u)
		VPADDD(u, acc[c], acc[c])
	}
}

// dot32Fives is tile.dot32Fives with sums that are scaled by 16-bit numbers.
func (t *tile256) dot32Fives(o, wDisp, xDisp int, scale Op, acc []VecVirtual) {
	top := YMM()
	VMOVDQU(t.w8(o, wDisp+512), top)
	for j := range 4 {
		lo, hi := t.nibbles256(o, wDisp+128*j)
		orBits256(lo, top, 0x10101010, 4-2*j)
		orBits256(hi, top, 0x10101010, 3-2*j)
		t.pair(lo, hi, xDisp+4*j, xDisp+16+4*j, scale, acc)
	}
}

// dot32Bytes adds 32 k of bytes with 128 added. They get their sign back, since two
// products of an unsigned byte might not fit in 16 bits.
func (t *tile256) dot32Bytes(o, wDisp, xDisp int, offset VecVirtual, acc []VecVirtual) {
	for j := range 8 {
		w := YMM()
		VPXOR(t.w8(o, wDisp+128*j), offset, w)
		t.dotSigned(w, xDisp+4*j, words256(0x00010001), acc)
	}
}

// addScaled does f ±= float(v) · (scale · x.scale) for one output.
func (t *tile256) addScaled(v, d VecVirtual, c, xDisp int, f VecVirtual, sub bool) {
	s := YMM()
	VCVTDQ2PS(v, v)
	VBROADCASTSS(t.xAt(c, xDisp), s)
	VMULPS(s, d, s)
	VMULPS(s, v, v)
	if sub {
		VSUBPS(v, f, f)
	} else {
		VADDPS(v, f, f)
	}
}

func tile32AVX2(f format32, octets, cols int) {
	t := begin256(fmt.Sprintf("%sAVX2x%d", f.name, cols), octets, cols)
	t.all(func(o, c int) { VMOVUPS(t.out(o, c), t.sum[o][c]) })
	table := YMM()
	switch f {
	case q80:
		VMOVDQU(words256(0x80808080), table)
	case iq4nl:
		VBROADCASTI128(levelTable("iq4", iq4Values, 0), table)
	case mxfp4:
		VBROADCASTI128(levelTable("fp4Plus16", fp4Values, 16), table)
	}
	t.loop(f.bytes, xSize, func() {
		for at := 0; at < f.bytes; at += 128 {
			t.prefetch(at)
		}
		for o := range t.octets {
			t.block32(f, o, table)
		}
	})
	t.all(func(o, c int) { VMOVUPS(t.sum[o][c], t.out(o, c)) })
	VZEROUPPER()
	RET()
}

// block32 adds a block of one octet.
func (t *tile256) block32(f format32, o int, table VecVirtual) {
	acc, ones := t.acc[o], words256(0x00010001)
	for c := range t.cols {
		if f == q50 || f == mxfp4 {
			VPBROADCASTD(t.xAt(c, f.corr), acc[c])
		} else {
			VPXOR(acc[c], acc[c], acc[c])
		}
	}
	switch {
	case f.dot == "nibbles":
		t.dot32Nibbles(o, 0, xQuants, acc)
	case f.dot == "fives":
		t.dot32Fives(o, 0, xQuants, ones, acc)
	case f == iq4nl:
		t.dot32Signed(o, table, 0, xQuants, ones, acc)
	case f == mxfp4:
		t.dot32Levels(o, table, 0, xQuants, ones, acc)
	default:
		t.dot32Bytes(o, 0, xQuants, table, acc)
	}
	if f.dot == "nibbles" { // from 16 bits to 32
		for c := range t.cols {
			VPMADDWD(ones, acc[c], acc[c])
			if f.corr != 0 {
				corr := YMM()
				VPBROADCASTD(t.xAt(c, f.corr), corr)
				VPADDD(corr, acc[c], acc[c])
			}
		}
	}
	if f.min != 0 {
		t.addMin(o, t.half(f.min, o))
	}
	var d VecVirtual
	if f == mxfp4 {
		d = t.powers(f.scale, o)
	} else {
		d = t.half(f.scale, o)
	}
	for c := range t.cols {
		t.addScaled(acc[c], d, c, xScale, t.sum[o][c], false)
	}
}

// dot32Levels is dot32Nibbles for nibbles that stand for the small bytes of a table.
func (t *tile256) dot32Levels(o int, table VecVirtual, wDisp, xDisp int, scale Op, acc []VecVirtual) {
	for j := range 4 {
		lo, hi := t.nibbles256(o, wDisp+128*j)
		VPSHUFB(lo, table, lo)
		VPSHUFB(hi, table, hi)
		t.pair(lo, hi, xDisp+4*j, xDisp+16+4*j, scale, acc)
	}
}

// dot32Signed is dot32Levels for signed bytes.
func (t *tile256) dot32Signed(o int, table VecVirtual, wDisp, xDisp int, scale Op, acc []VecVirtual) {
	for j := range 4 {
		lo, hi := t.nibbles256(o, wDisp+128*j)
		for i, w := range []VecVirtual{lo, hi} {
			VPSHUFB(w, table, w)
			t.dotSigned(w, xDisp+16*i+4*j, scale, acc)
		}
	}
}

// dotSigned does acc += scale · |w|·(x with w's sign), for a dword of each row.
func (t *tile256) dotSigned(w VecVirtual, xDisp int, scale Op, acc []VecVirtual) {
	size := YMM()
	VPABSB(w, size)
	for c := range t.cols {
		x := YMM()
		VPBROADCASTD(t.xAt(c, xDisp), x)
		VPSIGNB(w, x, x)
		VPMADDUBSW(x, size, x)
		VPMADDWD(scale, x, x)
		VPADDD(x, acc[c], acc[c])
	}
}

// addMin does sum += float(Σx) · (min · x.scale).
func (t *tile256) addMin(o int, min VecVirtual) {
	for c := range t.cols {
		f, s := YMM(), YMM()
		VPBROADCASTD(t.xAt(c, xCorr8), f)
		VCVTDQ2PS(f, f)
		VMULPS(float256(-0.125), f, f)
		VBROADCASTSS(t.xAt(c, xScale), s)
		VMULPS(s, min, s)
		VMULPS(s, f, f)
		VADDPS(f, t.sum[o][c], t.sum[o][c])
	}
}

// powers loads eight scales that are powers of two: 2^(e−128).
func (t *tile256) powers(disp, o int) VecVirtual {
	e, d, tiny := YMM(), YMM(), YMM()
	VPMOVZXBD(Mem{Base: t.s, Disp: disp + 8*o}, e)
	VMOVDQU(words256(0x00200000), tiny)
	VPSLLVD(e, tiny, tiny)
	VPADDD(words256(0xffffffff), e, d)
	VPSLLD(Imm(23), d, d)
	VPCMPGTD(words256(1), e, e) // else a denormal number
	VPBLENDVB(e, d, tiny, d)
	return d
}

func tileFloatAVX2(f floatFormat, octets, cols int) {
	t := begin256(fmt.Sprintf("%sAVX2x%d", f.name, cols), octets, cols)
	t.all(func(o, c int) { VMOVUPS(t.out(o, c), t.sum[o][c]) })
	t.loop(f.bytes, 4, func() {
		for o := range octets {
			if o%2 == 0 {
				PREFETCHT0(Mem{Base: t.w, Disp: f.bytes/4*o + prefetchBytes})
			}
			w, at := YMM(), Mem{Base: t.w, Disp: f.bytes / 4 * o}
			switch f.name {
			case "f32":
				VMOVUPS(at, w)
			case "f16":
				VCVTPH2PS(at, w)
			default:
				VPMOVZXWD(at, w)
				VPSLLD(Imm(16), w, w)
			}
			for c := range cols {
				x := YMM()
				VBROADCASTSS(t.xAt(c, 0), x)
				VMULPS(x, w, x)
				VADDPS(x, t.sum[o][c], t.sum[o][c])
			}
		}
	})
	t.all(func(o, c int) { VMOVUPS(t.sum[o][c], t.out(o, c)) })
	VZEROUPPER()
	RET()
}

func avx2All() {
	for _, shape := range [][2]int{{4, 1}, {1, 4}} { // octets, columns
		for _, f := range formats32 {
			tile32AVX2(f, shape[0], shape[1])
		}
		for _, f := range floats {
			tileFloatAVX2(f, shape[0], shape[1])
		}
	}
	for _, cols := range []int{1, 4} { // all octets
		tileKAVX2(q4k, cols)
		tileKAVX2(q5k, cols)
		tileQ6KAVX2(cols)
		tileQ2KAVX2(cols)
		tileQ3KAVX2(cols)
		tileIQ4XSAVX2(cols)
	}
}
