package kernel

import (
	"slices"

	"rbee/inference/quant"
)

// A ProductClass says how weights of a type are multiplied.
type ProductClass int

// The classes.
const (
	Plain ProductClass = iota // decoded to float32 block by block, then multiplied like F32
	Fast                      // a kernel of its own, in vector instructions where the processor has them
)

// String is the class in one word: "plain" or "fast".
func (c ProductClass) String() string { return [...]string{"plain", "fast"}[c] }

// ClassOf returns the class of a type.
func ClassOf(t quant.Type) ProductClass {
	switch t {
	case quant.F32, quant.F16, quant.BF16, quant.Q40, quant.Q41, quant.Q50, quant.Q51, quant.Q80,
		quant.Q2K, quant.Q3K, quant.Q4K, quant.Q5K, quant.Q6K, quant.IQ4NL, quant.IQ4XS, quant.MXFP4:
		return Fast
	}
	return Plain
}

// A Supported is a type of weights and how it is multiplied.
type Supported struct {
	Type  quant.Type
	Class ProductClass
}

// Support lists every type that can be multiplied: the fast ones first, then by
// ggml's number.
func Support() (list []Supported) {
	for _, t := range quant.Types() {
		list = append(list, Supported{t, ClassOf(t)})
	}
	slices.SortStableFunc(list, func(a, b Supported) int { return int(b.Class) - int(a.Class) })
	return list
}
