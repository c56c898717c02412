package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// For many columns the values of a part of a panel are unpacked once, to bytes, and
// multiplied from there: the products have nothing else to do then. What is unpacked
// lies as in a panel of Q8_0, or is a block of a K-quant with bytes for its values.

const (
	bytesBlock  = 1088 // of a panel of Q8_0
	wideKBytes  = q4kQuants + 8*1024
	wideQ6Bytes = q6kQuants + 16*512
)

var wideQ4K = formatK{"wideQ4K", 1024, wideKBytes}

func wide512() {
	widen("widenQ40AVX512", q40.bytes, bytesBlock, func(e *expander) { e.nibbles(0, 0, 120); e.copy(512, 1024, 1) })
	widen("widenQ50AVX512", q50.bytes, bytesBlock, func(e *expander) { e.fives(0, 0, 112); e.copy(640, 1024, 1) })
	widen("widenIQ4NLAVX512", iq4nl.bytes, bytesBlock, func(e *expander) { e.levels(0, 0); e.copy(512, 1024, 1) })
	widen("widenQ4KAVX512", q4k.bytes, wideKBytes, func(e *expander) {
		e.copy(0, 0, q4kQuants/64)
		for s := range 8 {
			e.nibbles(q4kQuants+q4k.sub*s, q4kQuants+1024*s, 0)
		}
	})
	widen("widenQ5KAVX512", q5k.bytes, wideKBytes, func(e *expander) {
		e.copy(0, 0, q4kQuants/64)
		for s := range 8 {
			e.fives(q4kQuants+q5k.sub*s, q4kQuants+1024*s, 0)
		}
	})
	widen("widenQ6KAVX512", q6kBytes, wideQ6Bytes, func(e *expander) {
		e.copy(0, 0, q6kQuants/64)
		for s := range 16 {
			e.sixes(q6kQuants+384*s, q6kQuants+512*s)
		}
	})
	tile32(wide, 4)
	tileK(wideQ4K, 4)
	tileQ6KWide()
}

// An expander writes bytes for the values of one block. It shares the loads of tile.
type expander struct {
	tile

	dst             Register
	five, six, base VecVirtual // masks of high bits; what is added
	table           VecVirtual
}

// widen writes a function over n blocks of from bytes, which become to bytes each.
func widen(name string, from, to int, block func(e *expander)) {
	p := function(name, "func(dst, w *byte, n int)", "unpacks n blocks of a panel, at least one.", "dst", "w", "n")
	e := &expander{dst: p[0]}
	e.w, e.lowNibble = p[1], constant(0x0f0f0f0f)
	e.five, e.six, e.base = constant(0x10101010), constant(0x30303030), ZMM()
	e.table = levels512("iq4Plus128", iq4Values, 128)
	Label("blocks")
	block(e)
	ADDQ(U32(uint32(from)), e.w)
	ADDQ(U32(uint32(to)), e.dst)
	DECQ(p[2])
	JNE(LabelRef("blocks"))
	VZEROUPPER()
	RET()
}

// put stores the values of one dword of each row, with add added.
func (e *expander) put(v [groups]VecVirtual, disp int, add uint32) {
	for g := range groups {
		if add != 0 {
			VPADDB(e.offset(add), v[g], v[g])
		}
		VMOVDQU32(v[g], Mem{Base: e.dst, Disp: disp + 64*g})
	}
}

// offset is a register with add in every byte. VPADDB has no broadcast from memory.
func (e *expander) offset(add uint32) VecVirtual {
	VPBROADCASTD(word(add*0x01010101), e.base)
	return e.base
}

func (e *expander) copy(from, to, lines int) {
	for i := range lines {
		v := ZMM()
		VMOVDQU32(Mem{Base: e.w, Disp: from + 64*i}, v)
		VMOVDQU32(v, Mem{Base: e.dst, Disp: to + 64*i})
	}
}

func (e *expander) nibbles(from, to int, add uint32) {
	for j := range 4 {
		lo, hi := e.tile.nibbles(e.load(from + 128*j))
		e.put(lo, to+128*j, add)
		e.put(hi, to+128*(4+j), add)
	}
}

func (e *expander) levels(from, to int) {
	for j := range 4 {
		lo, hi := e.tile.nibbles(e.load(from + 128*j))
		for g := range groups {
			VPSHUFB(lo[g], e.table, lo[g])
			VPSHUFB(hi[g], e.table, hi[g])
		}
		e.put(lo, to+128*j, 0)
		e.put(hi, to+128*(4+j), 0)
	}
}

func (e *expander) fives(from, to int, add uint32) {
	top := e.load(from + 512)
	for j := range 4 {
		lo, hi := e.tile.nibbles(e.load(from + 128*j))
		for g := range groups {
			orBits(lo[g], top[g], e.five, 4-2*j)
			orBits(hi[g], top[g], e.five, 3-2*j)
		}
		e.put(lo, to+128*j, add)
		e.put(hi, to+128*(4+j), add)
	}
}

// sixes unpacks a sub-block of 16 values of Q6_K, as dot16SixBits does.
func (e *expander) sixes(from, to int) {
	top := e.load(from)
	first, third := e.tile.nibbles(e.load(from + 128))
	second, fourth := e.tile.nibbles(e.load(from + 256))
	for j, q := range [4][groups]VecVirtual{first, second, third, fourth} {
		for g := range groups {
			orBits(q[g], top[g], e.six, 4-2*j)
		}
		e.put(q, to+128*j, 0)
	}
}

// tileQ6KWide is tileQ6K for four columns and unpacked values.
func tileQ6KWide() {
	t := beginSuper("wideQ6KAVX512x4", 4)
	t.near = true
	t.loop(wideQ6Bytes, kSize, func() {
		clear512(t.total)
		corr, scale := GP64(), GP64()
		MOVQ(t.at, corr)
		MOVQ(t.w, scale)
		t.repeat("part", 4, 4*512, 4*16, func() {
			for s := range 4 {
				t.startAt(corr, kCorr32+4*s)
				for j := range 4 {
					t.dot(t.load(q6kQuants+512*s+128*j), kQuants+16*s+4*j)
				}
				t.addTotal(signedByte(scale, s, q6kScales))
			}
			ADDQ(Imm(16), corr)
			ADDQ(U32(128), scale)
		})
		t.rewind(16*512, 16*16)
		t.store(t.total, t.halves(q6kD), false)
	})
	VZEROUPPER()
	RET()
}
