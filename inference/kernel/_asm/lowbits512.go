package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// signedByteOf is signedByte of a register.
func signedByteOf(scales [groups]VecVirtual, i int) (r [groups]VecVirtual) {
	for g := range groups {
		r[g] = ZMM()
		if i == 3 {
			VPSRAD(Imm(24), scales[g], r[g])
			continue
		}
		VPSLLD(Imm(uint64(24-8*i)), scales[g], r[g])
		VPSRAD(Imm(24), r[g], r[g])
	}
	return r
}

// addSums adds four signed scales of each row, times four sums of each column, to
// the totals.
func (t super) addSums(scales [groups]VecVirtual, xDisp int) {
	for g := range groups {
		odd, even := ZMM(), ZMM()
		VPSLLW(Imm(8), scales[g], even)
		VPSRAW(Imm(8), even, even)
		VPSRAW(Imm(8), scales[g], odd)
		for c := range t.cols {
			VPDPWSSD_BCST(t.xAt(c, xDisp), even, t.total[g][c])
			VPDPWSSD_BCST(t.xAt(c, xDisp+4), odd, t.total[g][c])
		}
	}
}

// scaleTotal multiplies the totals by −2^shift.
func (t super) scaleTotal(shift uint64) {
	zero := ZMM()
	VPXORD(zero, zero, zero)
	t.each(func(g, c int) {
		VPSLLD(Imm(shift), t.total[g][c], t.total[g][c])
		VPSUBD(t.total[g][c], zero, t.total[g][c])
	})
}

// An IQ4_XS panel: d (f16 × 32), four nibbles of high bits of scales in 16 bits per
// row, a dword of low bits, then 8 sub-blocks as in IQ4_NL. Byte i of the dword has
// the low bits of scales i and 4+i, nibble i their high ones.
const iq4xsD, iq4xsHigh, iq4xsLow, iq4xsQuants, iq4xsBytes = 0, 64, 128, 256, 4352

func tileIQ4XS(cols int) {
	t := beginSuper(fmt.Sprintf("iq4xsAVX512x%d", cols), cols)
	table := levels512("iq4Plus128", iq4Values, 128)
	t.loop(iq4xsBytes, kSize, func() {
		t.prefetch(0)
		t.prefetch(128)
		scales := t.scalesIQ4XS()
		clear512(t.total)
		t.addSums(scales[0], kPairs)
		t.addSums(scales[1], kPairs+8)
		t.scaleTotal(7)
		for half := range 2 {
			t.repeat(fmt.Sprintf("sub%d", half), 4, 512, 32, func() {
				clear512(t.acc)
				t.clearOdd()
				t.dot32Levels(table, iq4xsQuants, kQuants)
				t.addTotal(signedByteOf(scales[half], 0))
				for g := range groups {
					VPSRLD(Imm(8), scales[half][g], scales[half][g])
				}
			})
		}
		t.rewind(8*512, 8*32)
		t.store(t.total, t.halves(iq4xsD), false)
	})
	VZEROUPPER()
	RET()
}

// scalesIQ4XS returns scales 0..3 and 4..7 as signed bytes.
func (t super) scalesIQ4XS() (scales [2][groups]VecVirtual) {
	for g := range groups {
		high, low, shifted := ZMM(), ZMM(), ZMM()
		VPMOVZXWD(Mem{Base: t.w, Disp: iq4xsHigh + 32*g}, high)
		for _, spread := range []struct {
			shift uint64
			mask  uint32
		}{{8, 0x00ff00ff}, {4, 0x0f0f0f0f}} { // nibble i goes to byte i
			VPSLLD(Imm(spread.shift), high, shifted)
			VPORD(shifted, high, high)
			VPANDD_BCST(word(spread.mask), high, high)
		}
		VMOVDQU32(t.wAt(g, iq4xsLow), low)
		for half := range 2 {
			v := ZMM()
			scales[half][g] = v
			VPSLLD(Imm(uint64(4-2*half)), high, v)
			VPANDD_BCST(word(0x30303030), v, v)
			VPANDD(t.lowNibble, low, shifted)
			VPORD(shifted, v, v)
			VPSUBB(t.thirtyTwo, v, v)
			VPSRLD(Imm(4), low, low)
		}
	}
	return scales
}

// A Q2_K panel: d, min (f16 × 32 each), four dwords of scales and minima per row,
// then 16 sub-blocks of a dword: bits 2j of byte i are k 4j+i.
const q2kD, q2kMin, q2kScales, q2kQuants, q2kBytes = 0, 64, 128, 640, 2688

func tileQ2K(cols int) {
	t := beginSuper(fmt.Sprintf("q2kAVX512x%d", cols), cols)
	mask := constant(0x03030303)
	t.loop(q2kBytes, kSize, func() {
		clear512(t.total)
		t.prefetch(0)
		for i := range 4 {
			mins := t.load(q2kScales + 128*i)
			for g := range groups {
				VPSRLD(Imm(4), mins[g], mins[g])
				VPANDD(t.lowNibble, mins[g], mins[g])
			}
			t.addSums(mins, kSums+8*i)
		}
		t.store(t.total, t.halves(q2kMin), true)
		clear512(t.total)
		scale := GP64()
		MOVQ(t.w, scale)
		t.repeat("part", 4, 4*128, 4*16, func() {
			for s := range 4 {
				clear512(t.acc)
				t.clearOdd()
				v := t.load(q2kQuants + 128*s)
				for j := range 4 {
					t.dot(twoBits(v, mask, j), kQuants+16*s+4*j)
				}
				sc := signedByte(scale, s, q2kScales)
				for g := range groups {
					VPANDD_BCST(word(15), sc[g], sc[g])
				}
				t.addTotal(sc)
			}
			ADDQ(U32(128), scale)
		})
		t.rewind(16*128, 16*16)
		t.store(t.total, t.halves(q2kD), false)
	})
	VZEROUPPER()
	RET()
}

// twoBits takes bits 2j of each byte.
func twoBits(v [groups]VecVirtual, mask VecVirtual, j int) (q [groups]VecVirtual) {
	for g := range groups {
		q[g] = ZMM()
		if j == 0 {
			VPANDD(mask, v[g], q[g])
			continue
		}
		VPSRLD(Imm(uint64(2*j)), v[g], q[g])
		VPANDD(mask, q[g], q[g])
	}
	return q
}

// A Q3_K panel: d (f16 × 32), three dwords of 6-bit scales per row, then for every 32
// k a dword of third bits (bit 4t+j of byte i is k 16t+4j+i) and two dwords as in Q2_K.
const q3kD, q3kScales, q3kQuants, q3kBytes = 0, 64, 448, 3520

func tileQ3K(cols int) {
	t := beginSuper(fmt.Sprintf("q3kAVX512x%d", cols), cols)
	mask, third := constant(0x03030303), constant(0x04040404)
	t.loop(q3kBytes, kSize, func() {
		clear512(t.total)
		for i := range 4 {
			t.prefetch(128 * i)
			t.addSums(t.scalesQ3K(i), kSums+8*i)
		}
		t.scaleTotal(2)
		for i := range 4 {
			scales := t.scalesQ3K(i)
			for s := 4 * i; s < 4*i+4; s++ {
				at := q3kQuants + 384*(s/2)
				clear512(t.acc)
				t.clearOdd()
				top, v := t.load(at), t.load(at+128+128*(s%2))
				for j := range 4 {
					q := twoBits(v, mask, j)
					for g := range groups {
						orBits(q[g], top[g], third, 2-4*(s%2)-j)
					}
					t.dot(q, kQuants+16*s+4*j)
				}
				t.addTotal(signedByteOf(scales, s%4))
			}
		}
		t.store(t.total, t.halves(q3kD), false)
	})
	VZEROUPPER()
	RET()
}

// scalesQ3K returns the i-th four scales as signed bytes.
func (t super) scalesQ3K(i int) (scales [groups]VecVirtual) {
	for g := range groups {
		v, high := ZMM(), ZMM()
		scales[g] = v
		VMOVDQU32(t.wAt(g, q3kScales+128*(i%2)), v)
		if i >= 2 {
			VPSRLD(Imm(4), v, v)
		}
		VPANDD(t.lowNibble, v, v)
		VMOVDQU32(t.wAt(g, q3kScales+256), high)
		if shift := 4 - 2*i; shift > 0 {
			VPSLLD(Imm(uint64(shift)), high, high)
		} else if shift < 0 {
			VPSRLD(Imm(uint64(-shift)), high, high)
		}
		VPANDD_BCST(word(0x30303030), high, high)
		VPORD(high, v, v)
		VPSUBB(t.thirtyTwo, v, v)
	}
	return scales
}
