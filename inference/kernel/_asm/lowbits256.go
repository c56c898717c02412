package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// quad adds four dwords of small weights times activations: acc += scale·Σ(q·x).
func (t *tile256) quad(q [4]VecVirtual, xDisp int, scale Op, acc []VecVirtual) {
	for c := range t.cols {
		sum := YMM()
		for j := range q {
			x := YMM()
			VPBROADCASTD(t.xAt(c, xDisp+4*j), x)
			if j == 0 {
				VPMADDUBSW(x, q[j], sum)
				continue
			}
			VPMADDUBSW(x, q[j], x)
			VPADDW(x, sum, sum)
		}
		VPMADDWD(scale, sum, sum)
		VPADDD(sum, acc[c], acc[c])
	}
}

// twoBits256 takes bits 2j of each byte of a dword of eight rows.
func (t *tile256) twoBits256(o, disp int) (q [4]VecVirtual) {
	v := YMM()
	VMOVDQU(t.w8(o, disp), v)
	for j := range q {
		q[j] = YMM()
		if j == 0 {
			VPAND(words256(0x03030303), v, q[j])
			continue
		}
		VPSRLD(Imm(uint64(2*j)), v, q[j])
		VPAND(words256(0x03030303), q[j], q[j])
	}
	return q
}

func tileQ2KAVX2(cols int) {
	t := begin256(fmt.Sprintf("q2kAVX2x%d", cols), 1, cols)
	t.loopOctets(q2kBytes, kSize, func() {
		clear256(t.sum)
		for i := range 4 {
			for o := range t.octets {
				mins := YMM()
				VMOVDQU(t.w8(o, q2kScales+128*i), mins)
				VPSRLD(Imm(4), mins, mins)
				VPAND(words256(0x0f0f0f0f), mins, mins)
				t.addSums(mins, o, kSums+8*i)
			}
		}
		t.store(q2kMin, true)
		clear256(t.sum)
		scale := GP64()
		MOVQ(t.w, scale)
		t.repeat("part", 4, 4*128, 4*16, func() {
			for s := range 4 {
				t.prefetch(q2kQuants + 128*s)
				for o := range t.octets {
					sc := YMM()
					VMOVDQU(Mem{Base: scale, Disp: q2kScales + 32*o}, sc)
					VPAND(words256(0x0f0f0f0f), sc, sc)
					VPSHUFB(pick256(s, 0), sc, sc)
					t.quad(t.twoBits256(o, q2kQuants+128*s), kQuants+16*s, sc, t.sum[o])
				}
			}
			ADDQ(U32(128), scale)
		})
		t.rewind(16*128, 16*16)
		t.store(q2kD, false)
	})
	VZEROUPPER()
	RET()
}

func tileQ3KAVX2(cols int) {
	t := begin256(fmt.Sprintf("q3kAVX2x%d", cols), 1, cols)
	t.loopOctets(q3kBytes, kSize, func() {
		clear256(t.sum)
		for i := range 4 {
			for o := range t.octets {
				t.addSums(t.scalesQ3K(o, i), o, kSums+8*i)
			}
		}
		t.scaleSum(2)
		for s := range 16 {
			at := q3kQuants + 384*(s/2)
			t.prefetch(at + 192*(s%2))
			t.prefetch(at + 192*(s%2) + 64)
			for o := range t.octets {
				top, sc := YMM(), t.scalesQ3K(o, s/4)
				VPSHUFB(pick256(s%4, 1), sc, sc)
				VPSRAW(Imm(8), sc, sc)
				VMOVDQU(t.w8(o, at), top)
				q := t.twoBits256(o, at+128+128*(s%2))
				for j := range q {
					orBits256(q[j], top, 0x04040404, 2-4*(s%2)-j)
				}
				t.quad(q, kQuants+16*s, sc, t.sum[o])
			}
		}
		t.store(q3kD, false)
	})
	VZEROUPPER()
	RET()
}

// scalesQ3K returns the i-th four scales as signed bytes.
func (t *tile256) scalesQ3K(o, i int) VecVirtual {
	v, high := YMM(), YMM()
	VMOVDQU(t.w8(o, q3kScales+128*(i%2)), v)
	if i >= 2 {
		VPSRLD(Imm(4), v, v)
	}
	VPAND(words256(0x0f0f0f0f), v, v)
	VMOVDQU(t.w8(o, q3kScales+256), high)
	orBits256(v, high, 0x30303030, 4-2*i)
	VPSUBB(words256(0x20202020), v, v)
	return v
}

func tileIQ4XSAVX2(cols int) {
	t := begin256(fmt.Sprintf("iq4xsAVX2x%d", cols), 1, cols)
	table := YMM()
	VBROADCASTI128(levelTable("iq4", iq4Values, 0), table)
	t.loopOctets(iq4xsBytes, kSize, func() {
		clear256(t.sum)
		for s := range 8 {
			for i := range 4 {
				t.prefetch(iq4xsQuants + 512*s + 128*i)
			}
			for o := range t.octets {
				sc := t.scalesIQ4XS(o, s/4)
				VPSHUFB(pick256(s%4, 1), sc, sc)
				VPSRAW(Imm(8), sc, sc)
				t.dot32Signed(o, table, iq4xsQuants+512*s, kQuants+32*s, sc, t.sum[o])
			}
		}
		t.store(iq4xsD, false)
	})
	VZEROUPPER()
	RET()
}

// scalesIQ4XS returns the first or second four scales as signed bytes.
func (t *tile256) scalesIQ4XS(o, second int) VecVirtual {
	high, v := YMM(), YMM()
	VPMOVZXWD(Mem{Base: t.s, Disp: iq4xsHigh + 16*o}, high)
	VPSLLD(Imm(8), high, v)
	VPOR(v, high, high)
	VPAND(words256(0x00ff00ff), high, high)
	VPSLLD(Imm(4), high, v)
	VPOR(v, high, high)
	VMOVDQU(t.w8(o, iq4xsLow), v)
	if second == 1 {
		VPSRLD(Imm(4), v, v)
	}
	VPAND(words256(0x0f0f0f0f), v, v)
	VPAND(words256(0x0f0f0f0f), high, high)
	orBits256(v, high, 0x30303030, 4-2*second)
	VPSUBB(words256(0x20202020), v, v)
	return v
}
