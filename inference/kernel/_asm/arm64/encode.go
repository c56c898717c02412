package main

import "fmt"

// Go's assembler lacks most of NEON by name, so vector instructions are written as
// words, with what they mean in the syntax of GNU and Arm beside them: the result comes
// first. A test decodes every word of the generated file and compares.

// A vec is a vector register.
type vec int

// word writes one instruction.
func (a *asm) word(bits uint32, format string, args ...any) {
	a.line(fmt.Sprintf("WORD $0x%08x // %s", bits, fmt.Sprintf(format, args...)))
}

// A shape is an instruction of two or three registers: its bits without them, and how
// each register is divided.
type shape struct {
	bits    uint32
	d, n, m string
}

var threes = map[string]shape{
	"add":     {0x4ea08400, "4s", "4s", "4s"},
	"addp":    {0x4ea0bc00, "4s", "4s", "4s"},
	"and":     {0x4e201c00, "16b", "16b", "16b"},
	"bit":     {0x6ea01c00, "16b", "16b", "16b"}, // d takes the bits of n where m has ones
	"bsl":     {0x6e601c00, "16b", "16b", "16b"}, // d chooses between n (ones) and m
	"cmhi":    {0x6ea03400, "4s", "4s", "4s"},
	"eor":     {0x6e201c00, "16b", "16b", "16b"},
	"facgt":   {0x6ea0ec00, "4s", "4s", "4s"}, // |n| > |m|
	"fadd":    {0x4e20d400, "4s", "4s", "4s"},
	"fcmge":   {0x6e20e400, "4s", "4s", "4s"},
	"fdiv":    {0x6e20fc00, "4s", "4s", "4s"},
	"fmax":    {0x4e20f400, "4s", "4s", "4s"},
	"fmin":    {0x4ea0f400, "4s", "4s", "4s"},
	"fmla":    {0x4e20cc00, "4s", "4s", "4s"}, // d += n·m, rounded once
	"fmul":    {0x6e20dc00, "4s", "4s", "4s"},
	"fsub":    {0x4ea0d400, "4s", "4s", "4s"},
	"mla":     {0x4ea09400, "4s", "4s", "4s"},
	"orr":     {0x4ea01c00, "16b", "16b", "16b"},
	"smin":    {0x4ea06c00, "4s", "4s", "4s"},
	"smlal":   {0x0e208000, "8h", "8b", "8b"},
	"smlal2":  {0x4e208000, "8h", "16b", "16b"},
	"smull":   {0x0e20c000, "8h", "8b", "8b"},
	"smull2":  {0x4e20c000, "8h", "16b", "16b"},
	"sub":     {0x6e208400, "16b", "16b", "16b"},
	"trn1":    {0x4e802800, "4s", "4s", "4s"},
	"trn2":    {0x4e806800, "4s", "4s", "4s"},
	"umax":    {0x6ea06400, "4s", "4s", "4s"},
	"ushl":    {0x6ea04400, "4s", "4s", "4s"},
	"uzp1":    {0x4e801800, "4s", "4s", "4s"},
	"uzp2":    {0x4e805800, "4s", "4s", "4s"},
	"uzp1.b":  {0x4e001800, "16b", "16b", "16b"},
	"uzp1.h":  {0x4e401800, "8h", "8h", "8h"},
	"zip1.s":  {0x4e803800, "4s", "4s", "4s"},
	"zip2.s":  {0x4e807800, "4s", "4s", "4s"},
	"zip1.d":  {0x4ec03800, "2d", "2d", "2d"},
	"zip2.d":  {0x4ec07800, "2d", "2d", "2d"},
	"fcvtl":   {0x0e217800, "4s", "4h", ""},
	"fcvtl2":  {0x4e217800, "4s", "8h", ""},
	"fcvtn":   {0x0e216800, "4h", "4s", ""},
	"fcvtn2":  {0x4e216800, "8h", "4s", ""},
	"fcvtns":  {0x4e21a800, "4s", "4s", ""}, // the nearest integer, ties to even
	"fabs":    {0x4ea0f800, "4s", "4s", ""},
	"fneg":    {0x6ea0f800, "4s", "4s", ""},
	"rev64":   {0x4ea00800, "4s", "4s", ""},
	"sadalp":  {0x4e606800, "4s", "8h", ""}, // d += sums of neighbours
	"saddlp":  {0x4e602800, "4s", "8h", ""}, // d = sums of neighbours
	"scvtf":   {0x4e21d800, "4s", "4s", ""},
	"shll":    {0x2e613800, "4s", "4h", "#16"},
	"shll2":   {0x6e613800, "4s", "8h", "#16"},
	"uxtl.bh": {0x2f08a400, "8h", "8b", ""},
	"uxtl.hs": {0x2f10a400, "4s", "4h", ""},
}

// op writes an instruction of two or three registers.
func (a *asm) op(name string, d, n vec, m ...vec) {
	s, known := threes[name]
	if !known {
		panic("no instruction " + name)
	}
	bits := s.bits | uint32(n)<<5 | uint32(d)
	text := fmt.Sprintf("%s v%d.%s, v%d.%s", mnemonic(name), d, s.d, n, s.n)
	switch {
	case len(m) == 1:
		bits |= uint32(m[0]) << 16
		text += fmt.Sprintf(", v%d.%s", m[0], s.m)
	case s.m != "":
		text += ", " + s.m
	}
	a.word(bits, "%s", text)
}

// mov copies a register.
func (a *asm) mov(d, n vec) {
	a.word(0x4ea01c00|uint32(n)<<16|uint32(n)<<5|uint32(d), "mov v%d.16b, v%d.16b", d, n)
}

// mnemonic is a name without what tells two shapes apart.
func mnemonic(name string) string {
	for i := range name {
		if name[i] == '.' {
			return name[:i]
		}
	}
	return name
}

// A lane operation takes one lane of the last register for all lanes.
var lanes = map[string]shape{
	"fmul": {0x4f809000, "4s", "4s", "s"},
	"mls":  {0x6f804000, "4s", "4s", "s"},   // d −= n·m
	"sdot": {0x4f80e000, "4s", "16b", "4b"}, // d += four products of bytes
}

func (a *asm) lane(name string, d, n, m vec, i int) {
	s, known := lanes[name]
	if !known {
		panic("no instruction " + name)
	}
	index := uint32(i&1)<<21 | uint32(i>>1)<<11
	a.word(s.bits|index|uint32(m)<<16|uint32(n)<<5|uint32(d),
		"%s v%d.%s, v%d.%s, v%d.%s[%d]", name, d, s.d, n, s.n, m, s.m, i)
}

// shift moves the bits of bytes (bits is 8) or dwords (32) by an immediate number.
func (a *asm) shift(name string, bits int, d, n vec, by int) {
	base := map[string]uint32{"shl": 0x4f005400, "sli": 0x6f005400, "ushr": 0x6f000400, "sshr": 0x4f000400}[name]
	if base == 0 || by < 0 || by >= bits || by == 0 && name != "shl" && name != "sli" {
		panic(fmt.Sprint("no shift ", name, by))
	}
	imm := bits + by
	if name == "ushr" || name == "sshr" {
		imm = 2*bits - by
	}
	form := map[int]string{8: "16b", 32: "4s"}[bits]
	a.word(base|uint32(imm)<<16|uint32(n)<<5|uint32(d), "%s v%d.%s, v%d.%s, #%d", name, d, form, n, form, by)
}

// dup fills d with one lane of n.
func (a *asm) dup(d, n vec, i int) {
	a.word(0x4e000400|uint32(8*i+4)<<16|uint32(n)<<5|uint32(d), "dup v%d.4s, v%d.s[%d]", d, n, i)
}

// bytes fills d with one byte.
func (a *asm) bytes(d vec, v uint8) {
	a.word(0x4f00e400|uint32(v>>5)<<16|uint32(v&31)<<5|uint32(d), "movi v%d.16b, #0x%x", d, v)
}

// table replaces the bytes of n, which are indexes, by those of a table of sixteen.
func (a *asm) table(d, from, n vec) {
	a.word(0x4e000000|uint32(n)<<16|uint32(from)<<5|uint32(d), "tbl v%d.16b, {v%d.16b}, v%d.16b", d, from, n)
}

// across reduces the four lanes of n to the first of d.
func (a *asm) across(name string, d, n vec) {
	base := map[string]uint32{"addv": 0x4eb1b800, "umaxv": 0x6eb0a800}[name]
	a.word(base|uint32(n)<<5|uint32(d), "%s s%d, v%d.4s", name, d, n)
}

// next fills d with the dword at a pointer, which moves behind it.
func (a *asm) next(d vec, from gp) {
	a.word(0x4ddfc800|uint32(from)<<5|uint32(d), "ld1r {v%d.4s}, [x%d], #4", d, from)
}
