package reference

import (
	"fmt"

	"rbee/inference/gguf"
	"rbee/inference/quant"
)

// rows decodes the rows from up to to of a tensor whose rows have in values. A
// tensor of more than two dimensions is read as one matrix under the other.
func (m *Model) rows(name string, in, from, to int) ([]float32, error) {
	t, ok := m.f.Tensor(name)
	if !ok {
		return nil, fmt.Errorf("%s is missing: %w", name, gguf.ErrFormat)
	}
	typ := quant.Type(t.Type)
	if !typ.Known() {
		return nil, fmt.Errorf("%s: block type %s is %w, only: %s", name, gguf.TypeName(t.Type), ErrUnsupported, quant.Supported())
	}
	if t.Dims[0] != uint64(in) || from < 0 || to < from || int64(to)*int64(in) > t.Elements() {
		return nil, fmt.Errorf("%s has the shape %v, want rows %d to %d of %d values: %w", name, t.Dims, from, to, in, gguf.ErrFormat)
	}
	x, bytes := make([]float32, (to-from)*in), typ.RowBytes(in)
	typ.Decode(x, m.f.Data(t)[from*bytes:to*bytes])
	return x, nil
}

// height is the number of rows of a tensor in all; 0 when there is none.
func (m *Model) height(name string) int {
	t, ok := m.f.Tensor(name)
	if !ok {
		return 0
	}
	return int(t.Elements() / int64(t.Dims[0]))
}

// columns cuts the columns from up to to out of x, which has rows of in values.
func columns(x []float32, in, from, to int) []float32 {
	var cut []float32
	for ; len(x) > 0; x = x[in:] {
		cut = append(cut, x[from:to]...)
	}
	return cut
}
