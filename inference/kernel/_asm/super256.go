package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// loopOctets is loop with the body run for each octet of a block, while the block is
// in the cache.
func (t *tile256) loopOctets(wBytes, xBytes int, body func()) {
	t.loop(wBytes, xBytes, func() {
		i := GP32()
		MOVL(U32(4), i)
		Label("octets")
		body()
		ADDQ(Imm(32), t.w)
		ADDQ(Imm(16), t.s)
		ADDQ(Imm(32), t.dst)
		DECL(i)
		JNE(LabelRef("octets"))
		SUBQ(U32(4*32), t.w)
		SUBQ(U32(4*16), t.s)
		SUBQ(U32(4*32), t.dst)
	})
}

// tileKAVX2 keeps the integer sums of a super-block in t.sum, the floats in dst.
func tileKAVX2(f formatK, cols int) {
	t := begin256(fmt.Sprintf("%sAVX2x%d", f.name, cols), 1, cols)
	t.loopOctets(f.bytes, kSize, func() {
		t.minima()
		clear256(t.sum)
		for s := range 8 {
			for at := 0; at < f.sub; at += 128 {
				t.prefetch(q4kQuants + f.sub*s + at)
			}
			for o := range t.octets {
				sc := t.sixBits(o, 0, 0, s/4)
				VPSHUFB(pick256(s%4, 0), sc, sc) // the scale in both halves of a dword
				t.subBlock(f, o, s, sc)
			}
		}
		t.store(q4kD, false)
	})
	VZEROUPPER()
	RET()
}

// subBlock adds 32 k of an octet, scaled.
func (t *tile256) subBlock(f formatK, o, s int, sc VecVirtual) {
	wDisp, xDisp := q4kQuants+f.sub*s, kQuants+32*s
	if f == q5k {
		t.dot32Fives(o, wDisp, xDisp, sc, t.sum[o])
		return
	}
	for _, acc := range t.acc[0] {
		VPXOR(acc, acc, acc)
	}
	t.dot32Nibbles(o, wDisp, xDisp, t.acc[0])
	for c, acc := range t.acc[0] {
		VPMADDWD(sc, acc, acc)
		VPADDD(acc, t.sum[o][c], t.sum[o][c])
	}
}

// store does dst ±= float(sum) · (scale · x.scale).
func (t *tile256) store(scaleDisp int, sub bool) {
	for o := range t.octets {
		d := t.half(scaleDisp, o)
		for c := range t.cols {
			f := YMM()
			VMOVUPS(t.out(o, c), f)
			t.addScaled(t.sum[o][c], d, c, kScale, f, sub)
			VMOVUPS(f, t.out(o, c))
		}
	}
}

// addPairs adds products of two 16-bit numbers of each row and two of each column.
func (t *tile256) addPairs(pair VecVirtual, o, xDisp int) {
	for c := range t.cols {
		x := YMM()
		VPBROADCASTD(t.xAt(c, xDisp), x)
		VPMADDWD(x, pair, x)
		VPADDD(x, t.sum[o][c], t.sum[o][c])
	}
}

func (t *tile256) minima() {
	clear256(t.sum)
	for half := range 2 {
		for o := range t.octets {
			mins, pair := t.sixBits(o, 128, 4, half), YMM()
			VPAND(words256(0x00ff00ff), mins, pair)
			t.addPairs(pair, o, kPairs+8*half)
			VPSRLW(Imm(8), mins, mins)
			t.addPairs(mins, o, kPairs+8*half+4)
		}
	}
	t.store(q4kMin, true)
}

// sixBits unpacks the first or second four 6-bit numbers of the dword at disp
// of the scales; the nibbles of the second are shifted in the third dword.
func (t *tile256) sixBits(o, disp, shift, second int) VecVirtual {
	v, low := YMM(), YMM()
	VMOVDQU(t.w8(o, q4kScales+disp), v)
	if second == 0 {
		VPAND(words256(0x3f3f3f3f), v, v)
		return v
	}
	VPSRLD(Imm(2), v, v)
	VPAND(words256(0x30303030), v, v)
	VMOVDQU(t.w8(o, q4kScales+256), low)
	if shift > 0 {
		VPSRLD(Imm(uint64(shift)), low, low)
	}
	VPAND(words256(0x0f0f0f0f), low, low)
	VPOR(low, v, v)
	return v
}

var picks = map[[2]int]Mem{}

// pick256 is a shuffle that takes byte i of each dword to both its 16-bit halves,
// to the low byte of them or the high one.
func pick256(i, high int) Mem {
	if m, ok := picks[[2]int{i, high}]; ok {
		return m
	}
	m := GLOBL(fmt.Sprintf("pick%d%d", i, high), RODATA|NOPTR)
	for j := range 8 {
		at := uint32(4*(j%4) + i)
		v := at | 0x80<<8 | at<<16 | 0x80<<24
		if high == 1 {
			v = 0x80 | at<<8 | 0x80<<16 | at<<24
		}
		DATA(4*j, U32(v))
	}
	picks[[2]int{i, high}] = m
	return m
}

// tileQ6KAVX2: Σ scale·(w−32)·x as Σ scale·w·x − 32·Σ scale·(Σ x).
func tileQ6KAVX2(cols int) {
	t := begin256(fmt.Sprintf("q6kAVX2x%d", cols), 1, cols)
	t.loopOctets(q6kBytes, kSize, func() {
		t.offsetQ6K()
		scale := GP64()
		MOVQ(t.w, scale)
		t.repeat("part", 4, 4*384, 4*16, func() {
			for s := range 4 {
				for i := range 3 {
					t.prefetch(q6kQuants + 384*s + 128*i)
				}
				for o := range t.octets {
					sc := YMM()
					VMOVDQU(Mem{Base: scale, Disp: q6kScales + 32*o}, sc)
					VPSHUFB(pick256(s, 1), sc, sc)
					VPSRAW(Imm(8), sc, sc)
					t.dot16SixBits(o, q6kQuants+384*s, kQuants+16*s, sc)
				}
			}
			ADDQ(U32(128), scale)
		})
		t.rewind(16*384, 16*16)
		t.store(q6kD, false)
	})
	VZEROUPPER()
	RET()
}

// offsetQ6K sets the sums to −32·Σ scale·(Σ x).
func (t *tile256) offsetQ6K() {
	clear256(t.sum)
	for i := range 4 {
		for o := range t.octets {
			v := YMM()
			VMOVDQU(t.w8(o, q6kScales+128*i), v)
			t.addSums(v, o, kSums+8*i)
		}
	}
	t.scaleSum(5)
}

// addSums adds four signed scales of each row times four sums of each column.
func (t *tile256) addSums(scales VecVirtual, o, xDisp int) {
	even := YMM()
	VPSLLW(Imm(8), scales, even)
	VPSRAW(Imm(8), even, even)
	t.addPairs(even, o, xDisp)
	VPSRAW(Imm(8), scales, scales)
	t.addPairs(scales, o, xDisp+4)
}

// scaleSum multiplies the sums by −2^shift.
func (t *tile256) scaleSum(shift uint64) {
	zero := YMM()
	VPXOR(zero, zero, zero)
	t.all(func(o, c int) {
		VPSLLD(Imm(shift), t.sum[o][c], t.sum[o][c])
		VPSUBD(t.sum[o][c], zero, t.sum[o][c])
	})
}

func (t *tile256) dot16SixBits(o, wDisp, xDisp int, sc VecVirtual) {
	top := YMM()
	VMOVDQU(t.w8(o, wDisp), top)
	for i := range 2 {
		lo, hi := t.nibbles256(o, wDisp+128+128*i)
		orBits256(lo, top, 0x30303030, 4-2*i)
		orBits256(hi, top, 0x30303030, 0-2*i)
		t.pair(lo, hi, xDisp+4*i, xDisp+8+4*i, sc, t.sum[o])
	}
}
