// Package quant knows how ggml stores weights: the size of each type's blocks
// and the values in them. It is the plain truth that kernels are tested against.
//
// The formats are those of ggml-common.h; a block type is one file here.
package quant

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// A Type is a type of weights by ggml's number (enum ggml_type).
type Type uint32

// The types that can be decoded.
const (
	F32    Type = 0
	F16    Type = 1
	Q40    Type = 2
	Q41    Type = 3
	Q50    Type = 6
	Q51    Type = 7
	Q80    Type = 8
	Q2K    Type = 10
	Q3K    Type = 11
	Q4K    Type = 12
	Q5K    Type = 13
	Q6K    Type = 14
	IQ2XXS Type = 16
	IQ2XS  Type = 17
	IQ3XXS Type = 18
	IQ1S   Type = 19
	IQ4NL  Type = 20
	IQ3S   Type = 21
	IQ2S   Type = 22
	IQ4XS  Type = 23
	IQ1M   Type = 29
	BF16   Type = 30
	TQ10   Type = 34
	TQ20   Type = 35
	MXFP4  Type = 39
	NVFP4  Type = 40
	Q10    Type = 41
	Q20    Type = 42
)

// format says how a type is stored: block values in bytes bytes.
type format struct {
	name  string
	block int
	bytes int
}

var formats = map[Type]format{
	F32:    {"F32", 1, 4},
	F16:    {"F16", 1, 2},
	Q40:    {"Q4_0", 32, q40Bytes},
	Q41:    {"Q4_1", 32, q41Bytes},
	Q50:    {"Q5_0", 32, q50Bytes},
	Q51:    {"Q5_1", 32, q51Bytes},
	Q80:    {"Q8_0", 32, q80Bytes},
	Q2K:    {"Q2_K", 256, q2kBytes},
	Q3K:    {"Q3_K", 256, q3kBytes},
	Q4K:    {"Q4_K", 256, q4kBytes},
	Q5K:    {"Q5_K", 256, q5kBytes},
	Q6K:    {"Q6_K", 256, q6kBytes},
	IQ2XXS: {"IQ2_XXS", 256, iq2xxsBytes},
	IQ2XS:  {"IQ2_XS", 256, iq2xsBytes},
	IQ3XXS: {"IQ3_XXS", 256, iq3xxsBytes},
	IQ1S:   {"IQ1_S", 256, iq1sBytes},
	IQ4NL:  {"IQ4_NL", 32, iq4nlBytes},
	IQ3S:   {"IQ3_S", 256, iq3sBytes},
	IQ2S:   {"IQ2_S", 256, iq2sBytes},
	IQ4XS:  {"IQ4_XS", 256, iq4xsBytes},
	IQ1M:   {"IQ1_M", 256, iq1mBytes},
	BF16:   {"BF16", 1, 2},
	TQ10:   {"TQ1_0", 256, tq10Bytes},
	TQ20:   {"TQ2_0", 256, tq20Bytes},
	MXFP4:  {"MXFP4", 32, mxfp4Bytes},
	NVFP4:  {"NVFP4", 64, nvfp4Bytes},
	Q10:    {"Q1_0", 128, q10Bytes},
	Q20:    {"Q2_0", 64, q20Bytes},
}

// Known tells whether the type can be decoded.
func (t Type) Known() bool { return formats[t].block != 0 }

// String is ggml's name of the type.
func (t Type) String() string {
	if f, ok := formats[t]; ok {
		return f.name
	}
	return fmt.Sprintf("type %d", uint32(t))
}

// Block is the number of values in a block; 0 for an unknown type.
func (t Type) Block() int { return formats[t].block }

// BlockBytes is the number of bytes of a block.
func (t Type) BlockBytes() int { return formats[t].bytes }

// RowBytes is the number of bytes of n values, n a multiple of Block.
func (t Type) RowBytes(n int) int { return n / t.Block() * t.BlockBytes() }

// Decode sets dst to the values in src, which has the bytes of len(dst) values:
// a multiple of the type's block.
func (t Type) Decode(dst []float32, src []byte) {
	f := formats[t]
	if f.block == 0 || len(dst)%f.block != 0 || len(src) != len(dst)/f.block*f.bytes {
		panic(fmt.Sprintf("quant: decode %d bytes of %v into %d values", len(src), t, len(dst)))
	}
	t.decode(dst, src)
}

// decode decodes whole blocks. It is a switch, so that callers' buffers need not
// escape to the heap.
func (t Type) decode(dst []float32, src []byte) {
	switch t {
	case F32:
		decodeF32(dst, src)
	case F16:
		decodeF16(dst, src)
	case BF16:
		decodeBF16(dst, src)
	case Q40:
		decodeQ40(dst, src)
	case Q50:
		decodeQ50(dst, src)
	case Q80:
		decodeQ80(dst, src)
	case Q4K:
		decodeQ4K(dst, src)
	case Q5K:
		decodeQ5K(dst, src)
	case Q6K:
		decodeQ6K(dst, src)
	case Q41, Q51, Q2K, Q3K, IQ4NL, IQ4XS, MXFP4:
		t.decodeInts(dst, src)
	default:
		t.decodeRare(dst, src)
	}
}

func (t Type) decodeRare(dst []float32, src []byte) {
	switch t {
	case IQ2XXS:
		decodeIQ2XXS(dst, src)
	case IQ2XS:
		decodeIQ2XS(dst, src)
	case IQ3XXS:
		decodeIQ3XXS(dst, src)
	case IQ1S:
		decodeIQ1S(dst, src)
	case IQ3S:
		decodeIQ3S(dst, src)
	case IQ2S:
		decodeIQ2S(dst, src)
	case IQ1M:
		decodeIQ1M(dst, src)
	case TQ10:
		decodeTQ10(dst, src)
	case TQ20:
		decodeTQ20(dst, src)
	case NVFP4:
		decodeNVFP4(dst, src)
	case Q10:
		decodeQ10(dst, src)
	case Q20:
		decodeQ20(dst, src)
	}
}

// Types lists the types that can be decoded, by number.
func Types() []Type { return slices.Sorted(maps.Keys(formats)) }

// Supported names every type that can be decoded.
func Supported() string {
	var names []string
	for _, f := range formats {
		names = append(names, f.name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func decodeF32(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
	}
}

func decodeF16(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = FromHalf(binary.LittleEndian.Uint16(src[2*i:]))
	}
}

func decodeBF16(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[2*i:])) << 16)
	}
}

// FromHalf widens a float16, exactly.
func FromHalf(h uint16) float32 {
	sign, exp, man := uint32(h)>>15<<31, uint32(h)>>10&31, uint32(h)&1023
	switch exp {
	case 0:
		v := float32(man) * 0x1p-24
		return math.Float32frombits(math.Float32bits(v) | sign)
	case 31:
		return math.Float32frombits(sign | 0xff<<23 | man<<13)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | man<<13)
}

// ToHalf rounds to the nearest float16, ties to even.
func ToHalf(f float32) uint16 {
	bits := math.Float32bits(f)
	sign := uint16(bits >> 16 & 0x8000)
	v := math.Float32frombits(bits &^ (1 << 31))
	switch {
	case v != v: // NaN
		return sign | 0x7e00
	case v >= 65520:
		return sign | 0x7c00
	case v < 0x1p-14:
		return sign | uint16(math.RoundToEven(float64(v)*0x1p24))
	}
	b := math.Float32bits(v)
	b += 0xfff + b>>13&1
	return sign | uint16(b>>13-112<<10)
}

// half reads a float16 at the start of b.
func half(b []byte) float32 { return FromHalf(binary.LittleEndian.Uint16(b)) }
