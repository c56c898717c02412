package main

import (
	"fmt"
	"math"
	"strings"
)

// A gp is a register of the processor's integers.
type gp int

func (r gp) String() string { return fmt.Sprintf("R%d", int(r)) }

// A param is a parameter of a function.
type param struct{ name, typ string }

// asm writes functions: the assembly, and their declarations in Go.
type asm struct {
	text, stubs strings.Builder
	vecs        []vec // which are free
	gps         []gp
	labels      int
	offsets     map[string]int // of parameters
	signature   string
	count       int // instructions, those of loops as often as these say
	times       int
}

// line writes one instruction.
func (a *asm) line(s string) {
	fmt.Fprintf(&a.text, "\t%s\n", s)
	a.count += a.times
}

func (a *asm) linef(format string, args ...any) { a.line(fmt.Sprintf(format, args...)) }

// function begins one with a frame of so many bytes from 16(RSP) on.
func (a *asm) function(name string, frame int, params []param, result string) {
	a.reset()
	at, list := 0, make([]string, len(params))
	for i, p := range params {
		size := 8
		if p.typ == "float32" || p.typ == "uint32" {
			size = 4
		}
		at = (at + size - 1) / size * size
		a.offsets[p.name] = at
		at += size
		list[i] = p.name + " " + p.typ
	}
	if result != "" { // of 4 bytes
		at = (at + 7) &^ 7
		a.offsets["ret"] = at
		at += 4
		result = " " + result
	}
	if frame > 0 {
		frame += 8
	}
	a.signature = fmt.Sprintf("func %s(%s)%s", name, strings.Join(list, ", "), result)
	fmt.Fprintf(&a.text, "\n// %s\nTEXT ·%s(SB), NOSPLIT, $%d-%d\n", a.signature, name, frame, at)
}

// declare writes the declaration of the function in Go.
func (a *asm) declare(doc string) {
	name, _, _ := strings.Cut(strings.TrimPrefix(a.signature, "func "), "(")
	fmt.Fprintf(&a.stubs, "\n// %s %s\n//\n//go:noescape\n%s\n", name, doc, a.signature)
}

func (a *asm) reset() {
	a.vecs, a.gps, a.offsets, a.times = nil, nil, map[string]int{}, 1
	for i := 31; i >= 0; i-- {
		a.vecs = append(a.vecs, vec(i))
	}
	for i := 25; i >= 0; i-- {
		if i < 16 || i > 18 { // those between are the linker's and the system's
			a.gps = append(a.gps, gp(i))
		}
	}
}

// v takes a free vector register.
func (a *asm) v() vec {
	if len(a.vecs) == 0 {
		panic("no vector register is free")
	}
	v := a.vecs[len(a.vecs)-1]
	a.vecs = a.vecs[:len(a.vecs)-1]
	return v
}

func (a *asm) some(n int) (v []vec) {
	for range n {
		v = append(v, a.v())
	}
	return v
}

// free gives registers back.
func (a *asm) free(v ...vec) {
	for i := range v {
		a.vecs = append(a.vecs, v[len(v)-1-i])
	}
}

func (a *asm) gp() gp {
	r := a.gps[len(a.gps)-1]
	a.gps = a.gps[:len(a.gps)-1]
	return r
}

// arg loads a parameter that is a pointer or an int.
func (a *asm) arg(name string) gp {
	r := a.gp()
	a.linef("MOVD %s+%d(FP), %v", name, a.offsets[name], r)
	return r
}

// float32 fills a register with a parameter.
func (a *asm) floatArg(name string) vec {
	v := a.v()
	a.linef("FMOVS %s+%d(FP), F%d", name, a.offsets[name], v)
	a.dup(v, v, 0)
	return v
}

// Loads and stores of 16, 8 and 4 bytes.
func (a *asm) load(d vec, from gp, disp int)  { a.linef("FMOVQ %d(%v), F%d", disp, from, d) }
func (a *asm) load8(d vec, from gp, disp int) { a.linef("FMOVD %d(%v), F%d", disp, from, d) }
func (a *asm) load4(d vec, from gp, disp int) { a.linef("FMOVS %d(%v), F%d", disp, from, d) }
func (a *asm) store(v vec, to gp, disp int)   { a.linef("FMOVQ F%d, %d(%v)", v, disp, to) }
func (a *asm) move(d, from gp)                { a.linef("MOVD %v, %v", from, d) }
func (a *asm) imm(d gp, v int)                { a.linef("MOVD $%d, %v", v, d) }
func (a *asm) zero(v vec)                     { a.bytes(v, 0) }
func (a *asm) dwords(v vec, x uint32) {
	x64 := uint64(x)<<32 | uint64(x)
	a.linef("VMOVQ $0x%x, $0x%x, V%d", x64, x64, v)
}
func (a *asm) float(x float32) (v vec)  { v = a.v(); a.dwords(v, math.Float32bits(x)); return v }
func (a *asm) constant(b uint8) (v vec) { v = a.v(); a.bytes(v, b); return v }
func (a *asm) ret()                     { a.line("RET") }

// add moves a pointer.
func (a *asm) add(r gp, by int) {
	switch {
	case by > 0:
		a.linef("ADD $%d, %v", by, r)
	case by < 0:
		a.linef("SUB $%d, %v", -by, r)
	}
}

// repeat runs body until n, of which every round takes step, is used up: at least once.
func (a *asm) repeat(n gp, step int, body func()) {
	a.labels++
	label := fmt.Sprintf("loop%d", a.labels)
	fmt.Fprintf(&a.text, "%s:\n", label)
	body()
	a.linef("SUBS $%d, %v", step, n)
	a.linef("BGT %s", label)
}

// fixed runs body a number of times that is known.
func (a *asm) fixed(times int, body func()) {
	n := a.gp()
	a.imm(n, times)
	a.times *= times
	a.repeat(n, 1, body)
	a.times /= times
	a.gps = append(a.gps, n)
}
