package gguf

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
)

// blockType is how ggml stores one type: block values in bytes bytes.
type blockType struct {
	name         string
	block, bytes uint64
}

// blockTypes are ggml's types by number (ggml.h, enum ggml_type). Numbers that
// are missing were withdrawn.
var blockTypes = map[uint32]blockType{
	0: {"F32", 1, 4}, 1: {"F16", 1, 2}, 2: {"Q4_0", 32, 18}, 3: {"Q4_1", 32, 20},
	6: {"Q5_0", 32, 22}, 7: {"Q5_1", 32, 24}, 8: {"Q8_0", 32, 34}, 9: {"Q8_1", 32, 36},
	10: {"Q2_K", 256, 84}, 11: {"Q3_K", 256, 110}, 12: {"Q4_K", 256, 144}, 13: {"Q5_K", 256, 176},
	14: {"Q6_K", 256, 210}, 15: {"Q8_K", 256, 292},
	16: {"IQ2_XXS", 256, 66}, 17: {"IQ2_XS", 256, 74}, 18: {"IQ3_XXS", 256, 98}, 19: {"IQ1_S", 256, 50},
	20: {"IQ4_NL", 32, 18}, 21: {"IQ3_S", 256, 110}, 22: {"IQ2_S", 256, 82}, 23: {"IQ4_XS", 256, 136},
	24: {"I8", 1, 1}, 25: {"I16", 1, 2}, 26: {"I32", 1, 4}, 27: {"I64", 1, 8}, 28: {"F64", 1, 8},
	29: {"IQ1_M", 256, 56}, 30: {"BF16", 1, 2}, 34: {"TQ1_0", 256, 54}, 35: {"TQ2_0", 256, 66},
	39: {"MXFP4", 32, 17}, 40: {"NVFP4", 64, 36}, 41: {"Q1_0", 128, 18}, 42: {"Q2_0", 64, 18},
}

// TypeName returns ggml's name of a block type, or its number when it is unknown.
func TypeName(number uint32) string {
	if t, ok := blockTypes[number]; ok {
		return t.name
	}
	return strconv.FormatUint(uint64(number), 10)
}

// sizeOf returns the tensor's bytes: rows of whole blocks. An error goes on after
// the tensor's name.
func sizeOf(t Tensor) (int64, error) {
	typ, ok := blockTypes[t.Type]
	if !ok {
		return 0, fmt.Errorf("has the unknown type %d", t.Type)
	}
	elements := uint64(1)
	for _, d := range t.Dims {
		over, n := bits.Mul64(elements, d)
		if over != 0 || n > 1<<56 || d == 0 {
			return 0, fmt.Errorf("has impossible dimensions %v", t.Dims)
		}
		elements = n
	}
	if t.Dims[0]%typ.block != 0 {
		return 0, fmt.Errorf("has rows of %d values, no multiple of %s's %d", t.Dims[0], typ.name, typ.block)
	}
	over, size := bits.Mul64(elements/typ.block, typ.bytes)
	if over != 0 || size > 1<<60 {
		return 0, errors.New("is too large")
	}
	return int64(size), nil
}

// fileTypes are the names of general.file_type (llama.h, enum llama_ftype).
var fileTypes = map[uint64]string{
	0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
	12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K",
	19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL",
	26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16",
	36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4", 39: "NVFP4", 40: "Q1_0", 41: "Q2_0",
}

// Quantization names how the weights are stored: what the file says of itself,
// else the type of most bytes.
func (f *File) Quantization() string {
	if n, ok := f.Uint("general.file_type"); ok && fileTypes[n] != "" {
		return fileTypes[n]
	}
	bytes := map[uint32]int64{}
	var most uint32
	for _, t := range f.tensors {
		if bytes[t.Type] += t.Size; bytes[t.Type] > bytes[most] {
			most = t.Type
		}
	}
	return TypeName(most)
}

// Parameters is the number of weights.
func (f *File) Parameters() (n int64) {
	for _, t := range f.tensors {
		n += t.Elements()
	}
	return n
}
