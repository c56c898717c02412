package model

import (
	"fmt"
	"slices"
	"strings"

	"rbee/inference/device"
	"rbee/inference/gguf"
	"rbee/inference/quant"
)

// A loader reads tensors by name and checks their shapes. It keeps the first error.
type loader struct {
	f     *gguf.File
	dev   device.Device
	used  map[string]bool
	bytes int64 // of the weights so far
	err   error
}

func (l *loader) has(name string) bool {
	_, ok := l.f.Tensor(name)
	return ok
}

// skip marks tensors as known that may stand in the file without being read.
func (l *loader) skip(names ...string) {
	for _, name := range names {
		l.used[name] = true
	}
}

// tensor returns a tensor of the given dimensions, the outermost first.
func (l *loader) tensor(name string, dims ...int) (gguf.Tensor, bool) {
	if l.err != nil {
		return gguf.Tensor{}, false
	}
	want := make([]uint64, 0, len(dims))
	for _, d := range slices.Backward(dims) {
		want = append(want, uint64(d))
	}
	t, ok := l.f.Tensor(name)
	switch {
	case !ok:
		l.err = fmt.Errorf("model: tensor %q is missing: %w", name, gguf.ErrFormat)
	case !slices.Equal(trim(t.Dims), trim(want)):
		l.err = fmt.Errorf("model: tensor %q has the shape %v, want %v: %w", name, t.Dims, want, gguf.ErrFormat)
	case !quant.Type(t.Type).Known():
		l.err = fmt.Errorf("model: tensor %q is of type %s, which is %w; supported are %s", name, gguf.TypeName(t.Type), ErrUnsupported, quant.Supported())
	}
	l.used[name] = true
	return t, l.err == nil
}

// trim drops outer dimensions of 1: files have them or not.
func trim(dims []uint64) []uint64 {
	for len(dims) > 1 && dims[len(dims)-1] == 1 {
		dims = dims[:len(dims)-1]
	}
	return dims
}

// make makes weights of (rows, cols) of a tensor's bytes.
func (l *loader) make(name string, typ uint32, rows, cols int, data []byte) device.Weight {
	w, err := l.dev.Weight(quant.Type(typ), rows, cols, data)
	return l.made(name, w, err)
}

// made counts the weights of a tensor.
func (l *loader) made(name string, w device.Weight, err error) device.Weight {
	if err != nil {
		l.err = fmt.Errorf("model: tensor %q: %w", name, err)
		return nil
	}
	l.bytes += w.Bytes()
	return w
}

// weight reads a (rows, cols) matrix. Its pages of the file are not needed any more.
func (l *loader) weight(name string, rows, cols int) device.Weight {
	return l.parts(name, cols, rows)[0]
}

// soon is weight for a matrix that is not used at once.
func (l *loader) soon(name string, rows, cols int) device.Weight {
	t, ok := l.tensor(name, rows, cols)
	if !ok {
		return nil
	}
	w, err := l.dev.WeightSoon(quant.Type(t.Type), rows, cols, l.f.Data(t), func() { l.f.Drop(t) })
	return l.made(name, w, err)
}

// parts reads a matrix of cols columns as several, one under the other, of so many
// rows each.
func (l *loader) parts(name string, cols int, rows ...int) []device.Weight {
	all := make([]device.Weight, len(rows))
	total := 0
	for _, n := range rows {
		total += n
	}
	t, ok := l.tensor(name, total, cols)
	if !ok {
		return all
	}
	data := l.f.Data(t)
	for i, n := range rows {
		size := quant.Type(t.Type).RowBytes(cols) * n
		all[i] = l.make(name, t.Type, n, cols, data[:size])
		data = data[size:]
		if l.err != nil {
			return all
		}
	}
	l.f.Drop(t)
	return all
}

// stack reads n matrices of (rows, cols), one behind the other.
func (l *loader) stack(name string, n, rows, cols int) []device.Weight {
	all := make([]device.Weight, n)
	t, ok := l.tensor(name, n, rows, cols)
	if !ok {
		return all
	}
	size := quant.Type(t.Type).RowBytes(cols) * rows
	for i := range all {
		if all[i] = l.make(name, t.Type, rows, cols, l.f.Data(t)[i*size:][:size]); l.err != nil {
			return all
		}
	}
	l.f.Drop(t)
	return all
}

// table reads a (rows, cols) matrix for lookups. One row may be a vector in the file.
func (l *loader) table(name string, rows, cols int) device.Table {
	t, ok := l.tensor(name, rows, cols)
	if !ok {
		return nil
	}
	tab, err := l.dev.Table(quant.Type(t.Type), rows, cols, l.f.Data(t))
	if err != nil {
		l.err = fmt.Errorf("model: tensor %q: %w", name, err)
	}
	return tab
}

// values reads the numbers of a tensor of the given dimensions.
func (l *loader) values(name string, dims ...int) []float32 {
	t, ok := l.tensor(name, dims...)
	if !ok {
		return nil
	}
	typ := quant.Type(t.Type)
	v := make([]float32, t.Elements())
	if len(v)%typ.Block() != 0 {
		l.err = fmt.Errorf("model: tensor %q: %d values of type %v: %w", name, len(v), typ, gguf.ErrFormat)
		return nil
	}
	typ.Decode(v, l.f.Data(t))
	return v
}

// buffer reads the numbers of a tensor onto the device.
func (l *loader) buffer(name string, dims ...int) device.Buffer {
	v := l.values(name, dims...)
	if v == nil {
		return nil
	}
	b := l.dev.Buffer(len(v))
	l.dev.Upload(b, v)
	return b
}

// optional is buffer of a tensor that may be missing: then it is nil.
func (l *loader) optional(name string, dims ...int) device.Buffer {
	if !l.has(name) {
		return nil
	}
	return l.buffer(name, dims...)
}

// norm reads NAME.weight and, if there, NAME.bias.
func (l *loader) norm(c *Config, name string, dims ...int) device.Norm {
	w := l.buffer(name+".weight", dims...)
	if w == nil {
		return device.Norm{}
	}
	return device.Norm{Weight: w, Bias: l.optional(name+".bias", dims...), Eps: c.eps, Centre: c.layerNorm}
}

// leftovers is an error when the file holds a tensor that nobody read: the model
// is then another than this code computes.
func (l *loader) leftovers() error {
	for _, t := range l.f.Tensors() {
		if !l.used[t.Name] && !strings.HasSuffix(t.Name, "attn_rot_embd.weight") {
			return fmt.Errorf("model: tensor %q is none of a %s model as this engine knows it: %w", t.Name, l.f.Architecture(), ErrUnsupported)
		}
	}
	return nil
}
