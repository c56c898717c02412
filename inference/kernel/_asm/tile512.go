package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

const (
	groups = 2 // zmm of 16 rows in a panel of 32

	// Offsets in an activation block of 32: Act32.
	xScale, xCorr8, xCorr16, xCorr128, xQuants, xSize = 0, 4, 8, 12, 16, 48

	// Offsets in an activation block of 256: Act256.
	kScale, kPairs, kSums, kCorr32, kQuants, kSize = 0, 4, 20, 52, 116, 372

	prefetchBytes = 8192 // how far ahead weights are asked for
)

const tileSig = "func(w *byte, x *[4]*byte, dst *float32, blocks int)"

// tile holds the registers of a panel of 32 rows × cols columns.
type tile struct {
	cols      int
	w, n      Register
	x         []Register // where columns begin
	at        Register   // how far the walk through them is, in bytes
	dst       Register
	acc, sum  [groups][]VecVirtual // integers of this block; floats so far
	lowNibble VecVirtual

	// One column has too few sums to hide the latency of VPDPBUSD: every other
	// addition goes to a second set. Integers do not mind.
	odd    [groups]VecVirtual
	useOdd bool

	near bool // weights are in the cache
}

// loadParams fetches what all kernels take.
func (t *tile) loadParams() {
	t.w, t.dst, t.n, t.at = Load(Param("w"), GP64()), Load(Param("dst"), GP64()), Load(Param("blocks"), GP64()), GP64()
	list := Load(Param("x"), GP64())
	for c := range t.cols {
		t.x = append(t.x, GP64())
		MOVQ(Mem{Base: list, Disp: 8 * c}, t.x[c])
	}
	XORQ(t.at, t.at)
}

func beginAt(name string, cols int) *tile {
	TEXT(name, NOSPLIT, tileSig)
	Doc(name + " adds one panel × columns.")
	Pragma("noescape")
	t := &tile{cols: cols, odd: [groups]VecVirtual{ZMM(), ZMM()}}
	t.loadParams()
	return t
}

func begin(name string, cols int) *tile {
	t := beginAt(name, cols)
	for g := range groups {
		for c := range cols {
			t.acc[g] = append(t.acc[g], ZMM())
			f := ZMM()
			VMOVUPS(t.dstAt(g, c), f)
			t.sum[g] = append(t.sum[g], f)
		}
	}
	return t
}

func (t *tile) end() {
	for g := range groups {
		for c := range t.cols {
			VMOVUPS(t.sum[g][c], t.dstAt(g, c))
		}
	}
	VZEROUPPER()
	RET()
}

func (t *tile) xAt(c, disp int) Mem { return t.xFrom(t.at, c, disp) }
func (t *tile) xFrom(at Register, c, disp int) Mem {
	return Mem{Base: t.x[c], Index: at, Scale: 1, Disp: disp}
}
func (t *tile) dstAt(g, c int) Mem  { return Mem{Base: t.dst, Disp: 128*c + 64*g} }
func (t *tile) wAt(g, disp int) Mem { return Mem{Base: t.w, Disp: disp + 64*g} }

func (t *tile) each(f func(g, c int)) {
	for c := range t.cols {
		for g := range groups {
			f(g, c)
		}
	}
}

// prefetch asks for the weights that are read later. With many columns all but
// the first pass over a panel finds them in the cache; then it costs nothing
// that could be measured.
func (t *tile) prefetch(disp int) {
	if t.near {
		return
	}
	PREFETCHT0(Mem{Base: t.w, Disp: disp + prefetchBytes})
	PREFETCHT0(Mem{Base: t.w, Disp: disp + prefetchBytes + 64})
}

// startAt sets the integer sums to a number of each column, which undoes the
// offset of the unsigned weights.
func (t *tile) startAt(at Register, disp int) {
	t.clearOdd()
	for c := range t.cols {
		VPBROADCASTD(t.xFrom(at, c, disp), t.acc[0][c])
		VMOVDQA32(t.acc[0][c], t.acc[1][c])
	}
}

// dot adds four k of weights (u8, one dword per row) times activations.
func (t *tile) dot(w [groups]VecVirtual, xDisp int) {
	for c := range t.cols {
		x := ZMM()
		VPBROADCASTD(t.xAt(c, xDisp), x)
		for g := range groups {
			if t.useOdd {
				VPDPBUSD(x, w[g], t.odd[g])
			} else {
				VPDPBUSD(x, w[g], t.acc[g][c])
			}
		}
	}
	t.useOdd = t.cols == 1 && !t.useOdd
}

func (t *tile) clearOdd() {
	if t.cols > 1 {
		return
	}
	for g := range t.odd {
		VPXORD(t.odd[g], t.odd[g], t.odd[g])
	}
}

// merge ends a block's integer sums.
func (t *tile) merge() {
	if t.cols > 1 {
		return
	}
	for g := range t.odd {
		VPADDD(t.odd[g], t.acc[g][0], t.acc[g][0])
	}
}

func (t *tile) load(disp int) (v [groups]VecVirtual) {
	t.prefetch(disp)
	for g := range groups {
		v[g] = ZMM()
		VMOVDQU32(t.wAt(g, disp), v[g])
	}
	return v
}

// nibbles splits dwords into their low halves and their high halves.
func (t *tile) nibbles(v [groups]VecVirtual) (lo, hi [groups]VecVirtual) {
	for g := range groups {
		lo[g], hi[g] = ZMM(), ZMM()
		VPANDD(t.lowNibble, v[g], lo[g])
		VPSRLD(Imm(4), v[g], v[g])
		VPANDD(t.lowNibble, v[g], hi[g])
	}
	return lo, hi
}

func (t *tile) dot32Nibbles(wDisp, xDisp int) {
	for j := range 4 {
		lo, hi := t.nibbles(t.load(wDisp + 128*j))
		t.dot(lo, xDisp+4*j)
		t.dot(hi, xDisp+16+4*j)
	}
}

// dot32Fives is dot32Nibbles with a fifth bit each in the dword behind: bit 2j of
// a byte belongs to a low half of dword j, bit 2j+1 to the high half.
func (t *tile) dot32Fives(mask VecVirtual, wDisp, xDisp int) {
	top := t.load(wDisp + 512)
	for j := range 4 {
		lo, hi := t.nibbles(t.load(wDisp + 128*j))
		for g := range groups {
			orBits(lo[g], top[g], mask, 4-2*j)
			orBits(hi[g], top[g], mask, 3-2*j)
		}
		t.dot(lo, xDisp+4*j)
		t.dot(hi, xDisp+16+4*j)
	}
}

// orBits does q |= (top << shift) & mask, to the right if shift is negative.
func orBits(q, top, mask VecVirtual, shift int) {
	h := top
	switch {
	case shift > 0:
		h = ZMM()
		VPSLLD(Imm(uint64(shift)), top, h)
	case shift < 0:
		h = ZMM()
		VPSRLD(Imm(uint64(-shift)), top, h)
	}
	VPTERNLOGD(Imm(0xf8), mask, h, q)
}

func (t *tile) dot32Bytes(wDisp, xDisp int) {
	for j := range 8 {
		t.dot(t.load(wDisp+128*j), xDisp+4*j)
	}
}

// addScaled does sum += float(acc) · (scale[g] · x[disp]) for each output.
func (t *tile) addScaled(scale [groups]VecVirtual, xDisp int) {
	t.each(func(g, c int) {
		f, s := ZMM(), ZMM()
		VCVTDQ2PS(t.acc[g][c], f)
		VMULPS_BCST(t.xAt(c, xDisp), scale[g], s)
		VMULPS(s, f, f)
		VADDPS(f, t.sum[g][c], t.sum[g][c])
	})
}

// halves loads the 32 float16 scales of a panel.
func (t *tile) halves(disp int) (d [groups]VecVirtual) {
	for g := range groups {
		d[g] = ZMM()
		VCVTPH2PS(Mem{Base: t.w, Disp: disp + 32*g}, d[g])
	}
	return d
}

func (t *tile) loop(wBytes, xBytes int, body func()) {
	Label("blocks")
	TESTQ(t.n, t.n)
	JE(LabelRef("done"))
	body()
	ADDQ(U32(wBytes), t.w)
	ADDQ(U32(xBytes), t.at)
	DECQ(t.n)
	JMP(LabelRef("blocks"))
	Label("done")
}

// format32 is a format of blocks of 32 k with one scale.
type format32 struct {
	name  string
	bytes int    // of a panel's block, 32 rows × 32 k
	corr  int    // where the activation has its correction
	dot   string // how values are stored: nibbles, fives (a fifth bit apart), bytes, levels
	scale int    // where the scales are
	min   int    // where what is added to each value is; 0: nowhere
}

var (
	q40   = format32{"q40", 576, xCorr8, "nibbles", 512, 0}
	q41   = format32{"q41", 640, 0, "nibbles", 512, 576}
	q50   = format32{"q50", 704, xCorr16, "fives", 640, 0}
	q51   = format32{"q51", 768, 0, "fives", 640, 704}
	q80   = format32{"q80", 1088, xCorr128, "bytes", 1024, 0}
	wide  = format32{"wide", bytesBlock, xCorr128, "bytes", 1024, 0}
	iq4nl = format32{"iq4nl", 576, xCorr128, "levels", 512, 0}
	mxfp4 = format32{"mxfp4", 544, xCorr16, "levels", 512, 0}

	formats32 = []format32{q40, q41, q50, q51, q80, iq4nl, mxfp4}
)

// The values that nibbles stand for: quant.levelsIQ4 and levelsFP4.
var (
	iq4Values = [16]int8{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}
	fp4Values = [16]int8{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}
)

// levelTable is sixteen bytes in memory: values with an offset.
func levelTable(name string, values [16]int8, offset int) Mem {
	if m, ok := tables[name]; ok {
		return m
	}
	m := GLOBL(name, RODATA|NOPTR)
	for i, v := range values {
		DATA(i, U8(uint8(int(v)+offset)))
	}
	tables[name] = m
	return m
}

var tables = map[string]Mem{}

func levels512(name string, values [16]int8, offset int) VecVirtual {
	z := ZMM()
	VBROADCASTI32X4(levelTable(name, values, offset), z)
	return z
}

func tile32(f format32, cols int) {
	t := begin(fmt.Sprintf("%sAVX512x%d", f.name, cols), cols)
	t.near = f == wide
	var mask, table VecVirtual
	if f.dot != "bytes" {
		t.lowNibble = constant(0x0f0f0f0f)
	}
	switch f {
	case q50, q51:
		mask = constant(0x10101010)
	case iq4nl:
		table = levels512("iq4Plus128", iq4Values, 128)
	case mxfp4:
		table = levels512("fp4Plus16", fp4Values, 16)
	}
	t.loop(f.bytes, xSize, func() {
		if f.corr == 0 {
			clear512(t.acc)
			t.clearOdd()
		} else {
			t.startAt(t.at, f.corr)
		}
		switch f.dot {
		case "nibbles":
			t.dot32Nibbles(0, xQuants)
		case "fives":
			t.dot32Fives(mask, 0, xQuants)
		case "levels":
			t.dot32Levels(table, 0, xQuants)
		default:
			t.dot32Bytes(0, xQuants)
		}
		t.merge()
		for at := f.scale; at < f.bytes && !t.near; at += 64 {
			PREFETCHT0(Mem{Base: t.w, Disp: at + prefetchBytes})
		}
		if f.min != 0 {
			t.addMin(t.halves(f.min))
		}
		if f == mxfp4 {
			t.addScaled(t.powers(f.scale), xScale)
		} else {
			t.addScaled(t.halves(f.scale), xScale)
		}
	})
	t.end()
}

// dot32Levels is dot32Nibbles for nibbles that stand for the bytes of a table.
func (t *tile) dot32Levels(table VecVirtual, wDisp, xDisp int) {
	for j := range 4 {
		lo, hi := t.nibbles(t.load(wDisp + 128*j))
		for g := range groups {
			VPSHUFB(lo[g], table, lo[g])
			VPSHUFB(hi[g], table, hi[g])
		}
		t.dot(lo, xDisp+4*j)
		t.dot(hi, xDisp+16+4*j)
	}
}

// addMin does sum += float(Σx) · (min[g] · x.scale).
func (t *tile) addMin(min [groups]VecVirtual) {
	t.each(func(g, c int) {
		f, s := ZMM(), ZMM()
		VCVTDQ2PS_BCST(t.xAt(c, xCorr8), f)
		VMULPS_BCST(float(-0.125), f, f)
		VMULPS_BCST(t.xAt(c, xScale), min[g], s)
		VMULPS(s, f, f)
		VADDPS(f, t.sum[g][c], t.sum[g][c])
	})
}

// powers loads the 32 scales of a panel that are powers of two: 2^(e−128).
func (t *tile) powers(disp int) (d [groups]VecVirtual) {
	two := constant(2)
	for g := range groups {
		e, small := ZMM(), K()
		d[g] = ZMM()
		VPMOVZXBD(Mem{Base: t.w, Disp: disp + 16*g}, e)
		VPCMPUD(Imm(1), two, e, small) // e < 2: a denormal number
		VPADDD_BCST(word(0xffffffff), e, d[g])
		VPSLLD(Imm(23), d[g], d[g])
		tiny := constant(0x00200000)
		VPSLLVD(e, tiny, tiny)
		VMOVDQU32(tiny, small, d[g])
	}
	return d
}

// constant fills a register with a dword.
func constant(v uint32) VecVirtual {
	r, z := GP32(), ZMM()
	MOVL(U32(v), r)
	VPBROADCASTD(r, z)
	return z
}

// floatFormat is weights of one value each.
type floatFormat struct {
	name  string
	bytes int // of one k of a panel
}

var floats = []floatFormat{{"f32", 128}, {"f16", 64}, {"bf16", 64}}

// tileFloat does sum = sum + w·x, each operation rounded.
func tileFloat(f floatFormat, cols int) {
	t := begin(fmt.Sprintf("%sAVX512x%d", f.name, cols), cols)
	t.loop(f.bytes, 4, func() {
		PREFETCHT0(Mem{Base: t.w, Disp: prefetchBytes})
		var w [groups]VecVirtual
		for g := range groups {
			w[g] = ZMM()
			at := Mem{Base: t.w, Disp: f.bytes / groups * g}
			switch f.name {
			case "f32":
				VMOVUPS(at, w[g])
			case "f16":
				VCVTPH2PS(at, w[g])
			default:
				VPMOVZXWD(at, w[g])
				VPSLLD(Imm(16), w[g], w[g])
			}
		}
		if f.bytes > 64 {
			PREFETCHT0(Mem{Base: t.w, Disp: 64 + prefetchBytes})
		}
		t.each(func(g, c int) {
			p := ZMM()
			VMULPS_BCST(t.xAt(c, 0), w[g], p)
			VADDPS(p, t.sum[g][c], t.sum[g][c])
		})
	})
	t.end()
}
