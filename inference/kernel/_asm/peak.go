package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// What bounds the other kernels: reading memory, and multiplying int8 values.

func peaks() {
	sum256()
	mulAdds512()
	mulAdds256()
}

// sum256 reads n words and adds them up, into four sums. No kernel reads faster.
func sum256() {
	p := function("sumAVX2", "func(words *uint64, sums *[4]uint64, n int)", "takes n, a positive multiple of 64.", "words", "sums", "n")
	acc := make([]VecVirtual, 8)
	for i := range acc {
		acc[i] = YMM()
		VPXOR(acc[i], acc[i], acc[i])
	}
	Label("loop")
	for i := range 16 {
		VPADDQ(Mem{Base: p[0], Disp: 32 * i}, acc[i%8], acc[i%8])
	}
	ADDQ(U32(512), p[0])
	SUBQ(Imm(64), p[2])
	JG(LabelRef("loop"))
	for _, v := range acc[1:] {
		VPADDQ(v, acc[0], acc[0])
	}
	VMOVDQU(acc[0], Mem{Base: p[1]})
	VZEROUPPER()
	RET()
}

// mulAdds512 multiplies ones in sixteen chains, as many as hide the time of one
// instruction: what it adds up is how often it has multiplied.
func mulAdds512() {
	p := function("mulAddsAVX512", "func(counts *[16]int32, rounds int)", "takes at least one round.", "counts", "rounds")
	ones, acc := constant(0x01010101), make([]VecVirtual, 16)
	for i := range acc {
		acc[i] = ZMM()
		VPXORD(acc[i], acc[i], acc[i])
	}
	Label("loop")
	for _, v := range acc {
		VPDPBUSD(ones, ones, v)
	}
	DECQ(p[1])
	JNE(LabelRef("loop"))
	for _, v := range acc[1:] {
		VPADDD(v, acc[0], acc[0])
	}
	VMOVDQU32(acc[0], Mem{Base: p[0]})
	VZEROUPPER()
	RET()
}

// mulAdds256 does the same in three instructions: pairs, pairs of pairs, and the sum.
func mulAdds256() {
	p := function("mulAddsAVX2", "func(counts *[16]int32, rounds int)", "takes at least one round, and sets the first 8.", "counts", "rounds")
	bytes, words, acc := YMM(), YMM(), make([]VecVirtual, 10)
	VMOVDQU(words256(0x01010101), bytes)
	VMOVDQU(words256(0x00010001), words)
	for i := range acc {
		acc[i] = YMM()
		VPXOR(acc[i], acc[i], acc[i])
	}
	Label("loop")
	for _, v := range acc {
		t := YMM()
		VPMADDUBSW(bytes, bytes, t)
		VPMADDWD(words, t, t)
		VPADDD(t, v, v)
	}
	DECQ(p[1])
	JNE(LabelRef("loop"))
	for _, v := range acc[1:] {
		VPADDD(v, acc[0], acc[0])
	}
	VMOVDQU(acc[0], Mem{Base: p[0]})
	VZEROUPPER()
	RET()
}
