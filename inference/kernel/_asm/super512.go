package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// words are constants in memory, broadcast by the instruction that uses them.
var words = map[uint32]Mem{}

func word(v uint32) Mem {
	if _, ok := words[v]; !ok {
		words[v] = ConstData(fmt.Sprintf("word%08x", v), U32(v))
	}
	return words[v]
}

// super is a tile over blocks of 256 k whose integers are scaled by integers:
// Σ scale[s]·(Σ w·x) stays exact, and there is one float operation per block.
// The floats live in dst, which leaves registers for the integers.
type super struct {
	*tile
	total     [groups][]VecVirtual
	thirtyTwo VecVirtual // 32 in every byte
}

func beginSuper(name string, cols int) super {
	t := super{tile: beginAt(name, cols)}
	for g := range groups {
		for range cols {
			t.acc[g] = append(t.acc[g], ZMM())
			t.total[g] = append(t.total[g], ZMM())
		}
	}
	t.lowNibble = constant(0x0f0f0f0f)
	t.thirtyTwo = constant(0x20202020)
	return t
}

func clear512(v [groups][]VecVirtual) {
	for g := range groups {
		for _, r := range v[g] {
			VPXORD(r, r, r)
		}
	}
}

// addTotal does total += acc · scale, integers.
func (t super) addTotal(scale [groups]VecVirtual) {
	t.merge()
	t.each(func(g, c int) {
		VPMULLD(scale[g], t.acc[g][c], t.acc[g][c])
		VPADDD(t.acc[g][c], t.total[g][c], t.total[g][c])
	})
}

// store does dst ±= float(v) · (scale[g] · x.scale).
func (t super) store(v [groups][]VecVirtual, scale [groups]VecVirtual, sub bool) {
	t.each(func(g, c int) {
		f, s := ZMM(), ZMM()
		VCVTDQ2PS(v[g][c], f)
		VMULPS_BCST(t.xAt(c, kScale), scale[g], s)
		VMULPS(s, f, f)
		if sub {
			VMOVUPS(t.dstAt(g, c), s)
			VSUBPS(f, s, f)
		} else {
			VADDPS(t.dstAt(g, c), f, f)
		}
		VMOVUPS(f, t.dstAt(g, c))
	})
}

// A Q4_K or Q5_K panel: d, min (f16 × 32 each), three dwords of 6-bit scales per
// row, then 8 sub-blocks of 4 dwords of nibbles (and one of fifth bits).
const q4kD, q4kMin, q4kScales, q4kQuants = 0, 64, 128, 512

type formatK struct {
	name  string
	sub   int // bytes of a panel's sub-block of 32
	bytes int
}

var q4k, q5k = formatK{"q4k", 512, 4608}, formatK{"q5k", 640, 5632}

func tileK(f formatK, cols int) {
	t := beginSuper(fmt.Sprintf("%sAVX512x%d", f.name, cols), cols)
	t.near = f == wideQ4K
	var mask VecVirtual
	if f == q5k {
		mask = constant(0x10101010)
	}
	t.loop(f.bytes, kSize, func() {
		for i := range 4 {
			t.prefetch(128 * i)
		}
		scales := t.unpackScales()
		clear512(t.total)
		for half := range 2 {
			t.repeat(fmt.Sprintf("sub%d", half), 4, f.sub, 32, func() {
				clear512(t.acc)
				t.clearOdd()
				switch f {
				case wideQ4K:
					t.dot32Bytes(q4kQuants, kQuants)
				case q5k:
					t.dot32Fives(mask, q4kQuants, kQuants)
				default:
					t.dot32Nibbles(q4kQuants, kQuants)
				}
				t.addTotal(nextByte(scales[half]))
			})
		}
		t.rewind(8*f.sub, 8*32)
		t.store(t.total, t.halves(q4kD), false)
	})
	VZEROUPPER()
	RET()
}

// repeat runs body n times while w and x move on.
func (t *tile) repeat(label string, n, wBytes, xBytes int, body func()) {
	i := GP32()
	MOVL(U32(n), i)
	Label(label)
	body()
	ADDQ(U32(wBytes), t.w)
	ADDQ(U32(xBytes), t.at)
	DECL(i)
	JNE(LabelRef(label))
}

func (t *tile) rewind(wBytes, xBytes int) {
	SUBQ(U32(wBytes), t.w)
	SUBQ(U32(xBytes), t.at)
}

// nextByte takes the lowest byte of each dword.
func nextByte(v [groups]VecVirtual) (r [groups]VecVirtual) {
	for g := range groups {
		r[g] = ZMM()
		VPANDD_BCST(word(0xff), v[g], r[g])
		VPSRLD(Imm(8), v[g], v[g])
	}
	return r
}

// unpackScales returns the scales of sub-blocks 0..3 and 4..7 as bytes, and
// takes the part of the minima from dst.
func (t super) unpackScales() (scales [2][groups]VecVirtual) {
	var mins [2][groups]VecVirtual
	for g := range groups {
		a, b, c := ZMM(), ZMM(), ZMM()
		VMOVDQU32(t.wAt(g, q4kScales), a)
		VMOVDQU32(t.wAt(g, q4kScales+128), b)
		VMOVDQU32(t.wAt(g, q4kScales+256), c)
		scales[0][g], scales[1][g] = sixBits(a, c, t.lowNibble, 0)
		mins[0][g], mins[1][g] = sixBits(b, c, t.lowNibble, 4)
	}
	clear512(t.total)
	for half := range 2 {
		for odd := range 2 {
			var pair [groups]VecVirtual
			for g := range groups {
				pair[g] = ZMM()
				v := mins[half][g]
				if odd == 1 {
					VPSRLD(Imm(8), v, v)
				}
				VPANDD_BCST(word(0x00ff00ff), v, pair[g])
			}
			t.each(func(g, c int) {
				VPDPWSSD_BCST(t.xAt(c, kPairs+8*half+4*odd), pair[g], t.total[g][c])
			})
		}
	}
	t.store(t.total, t.halves(q4kMin), true)
	return scales
}

// sixBits puts together ggml's 6-bit numbers: four in the low bits of v, four
// with their low bits in a nibble of rest and their high bits on top of v.
func sixBits(v, rest, lowNibble VecVirtual, shift int) (first, second VecVirtual) {
	first, second = ZMM(), ZMM()
	low := ZMM()
	VPANDD_BCST(word(0x3f3f3f3f), v, first)
	if shift > 0 {
		VPSRLD(Imm(uint64(shift)), rest, low)
		VPANDD(lowNibble, low, low)
	} else {
		VPANDD(lowNibble, rest, low)
	}
	VPSRLD(Imm(2), v, second)
	VPANDD_BCST(word(0x30303030), second, second)
	VPORD(low, second, second)
	return first, second
}

// A Q6_K panel: d (f16 × 32), four dwords of int8 scales per row, then 16
// sub-blocks of one dword of high bits and two of nibbles.
const q6kD, q6kScales, q6kQuants, q6kBytes = 0, 64, 576, 6720

func tileQ6K(cols int) {
	t := beginSuper(fmt.Sprintf("q6kAVX512x%d", cols), cols)
	high := constant(0x30303030)
	per := 4 // sub-blocks in the code of one round
	if cols == 1 {
		per = 16 // measured: 10 % faster from memory; with more columns 5 % slower
	}
	t.loop(q6kBytes, kSize, func() {
		for i := range 4 {
			t.prefetch(128 * i)
		}
		t.prefetch(q6kQuants - 64)
		clear512(t.total)
		corr, scale := GP64(), GP64() // these move by other steps than w and x
		MOVQ(t.at, corr)
		MOVQ(t.w, scale)
		t.repeat("part", 16/per, per*384, per*16, func() {
			for s := range per {
				t.startAt(corr, kCorr32+4*s)
				t.dot16SixBits(high, q6kQuants+384*s, kQuants+16*s)
				t.addTotal(signedByte(scale, s, q6kScales))
			}
			ADDQ(Imm(uint64(4*per)), corr)
			ADDQ(U32(128*per/4), scale)
		})
		t.rewind(16*384, 16*16)
		t.store(t.total, t.halves(q6kD), false)
	})
	VZEROUPPER()
	RET()
}

// dot16SixBits: the nibbles of two dwords hold k 0..7 (low) and 8..15 (high),
// the dword before them the two high bits of each.
func (t super) dot16SixBits(high VecVirtual, wDisp, xDisp int) {
	top := t.load(wDisp)
	first, third := t.nibbles(t.load(wDisp + 128))
	second, fourth := t.nibbles(t.load(wDisp + 256))
	for j, q := range [4][groups]VecVirtual{first, second, third, fourth} {
		for g := range groups {
			orBits(q[g], top[g], high, 4-2*j)
		}
		t.dot(q, xDisp+4*j)
	}
}

// signedByte loads scale i of each row.
func signedByte(scales Register, i, disp int) (r [groups]VecVirtual) {
	for g := range groups {
		r[g] = ZMM()
		at := Mem{Base: scales, Disp: disp + 128*(i/4) + 64*g}
		if i%4 == 3 {
			VPSRAD(Imm(24), at, r[g])
			continue
		}
		VPSLLD(Imm(uint64(24-8*(i%4))), at, r[g])
		VPSRAD(Imm(24), r[g], r[g])
	}
	return r
}
