package model

import (
	"fmt"
	"slices"

	"rbee/inference/device"
	"rbee/inference/gguf"
	"rbee/inference/quant"
)

// A loader reads tensors by name and checks their shapes. It keeps the first error.
type loader struct {
	f    *gguf.File
	dev  device.Device
	used map[string]bool
	err  error
}

// tensor returns a tensor of the shape (rows, cols), or of (cols) when rows is 0.
func (l *loader) tensor(name string, rows, cols int) (gguf.Tensor, bool) {
	if l.err != nil {
		return gguf.Tensor{}, false
	}
	want := []uint64{uint64(cols), uint64(rows)}
	if rows == 0 {
		want = want[:1]
	}
	t, ok := l.f.Tensor(name)
	switch {
	case !ok:
		l.err = fmt.Errorf("model: tensor %q is missing: %w", name, gguf.ErrFormat)
	case !slices.Equal(t.Dims, want):
		l.err = fmt.Errorf("model: tensor %q has the shape %v, want %v: %w", name, t.Dims, want, gguf.ErrFormat)
	case !quant.Type(t.Type).Known():
		l.err = fmt.Errorf("model: tensor %q is of type %s, which is %w; supported are %s", name, gguf.TypeName(t.Type), ErrUnsupported, quant.Supported())
	}
	l.used[name] = true
	return t, l.err == nil
}

// weight reads a (rows, cols) matrix. Its pages of the file are not needed any more.
func (l *loader) weight(name string, rows, cols int) device.Weight {
	t, ok := l.tensor(name, rows, cols)
	if !ok {
		return nil
	}
	w, err := l.dev.Weight(quant.Type(t.Type), rows, cols, l.f.Data(t))
	if err != nil {
		l.err = fmt.Errorf("model: tensor %q: %w", name, err)
		return nil
	}
	l.f.Drop(t)
	return w
}

// table reads a (rows, cols) matrix for lookups.
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

// values reads a vector of n values.
func (l *loader) values(name string, n int) []float32 {
	t, ok := l.tensor(name, 0, n)
	if !ok {
		return nil
	}
	typ := quant.Type(t.Type)
	if n%typ.Block() != 0 {
		l.err = fmt.Errorf("model: tensor %q: %d values of type %v: %w", name, n, typ, gguf.ErrFormat)
		return nil
	}
	v := make([]float32, n)
	typ.Decode(v, l.f.Data(t))
	return v
}

// norm reads a norm's weights.
func (l *loader) norm(name string, n int, eps float32) device.Norm {
	v := l.values(name, n)
	if v == nil {
		return device.Norm{}
	}
	b := l.dev.Buffer(n)
	l.dev.Upload(b, v)
	return device.Norm{Weight: b, Eps: eps}
}

// leftovers is an error when the file holds a tensor that nobody read: the model
// is then another than this code computes.
func (l *loader) leftovers() error {
	for _, t := range l.f.Tensors() {
		if !l.used[t.Name] && !known(t.Name) {
			return fmt.Errorf("model: tensor %q is none of a %s model as this engine knows it: %w", t.Name, l.f.Architecture(), ErrUnsupported)
		}
	}
	return nil
}
