// Package gguf reads GGUF model files, versions 2 and 3, little-endian, in one file
// or split into parts (NAME-00001-of-00003.gguf), of which the first is opened.
//
// A file is mapped, not read, and distrusted: every count is checked against
// the bytes that remain before anything is allocated, every tensor against the
// end of the file. The format is described in ggml's docs/gguf.md.
//
// A mapped file must not be made shorter by others while it is open: reading
// what is gone ends the process (SIGBUS), as with every mapping.
package gguf

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrFormat is in the tree of every error about a file's content.
var ErrFormat = errors.New("not a usable GGUF file")

// A File is an open model file. Its methods may be called at once; Close must
// be the last.
type File struct {
	Version uint32

	parts   [][]byte // the whole file, or each part; the first has the metadata
	mapped  [][]byte // to be unmapped
	close   sync.Once
	keys    []string // in the order of the file
	values  map[string]value
	tensors []Tensor
	index   map[string]int
}

// A Tensor is an array in the file. Dims are in ggml's order: the innermost,
// whose elements lie side by side, first.
type Tensor struct {
	Name   string
	Type   uint32 // ggml's number of the block type; TypeName names it
	Dims   []uint64
	Offset int64 // from the start of the file, or of the part that it is in
	Size   int64 // in bytes

	part int // from 0
	info int // where its description lies, for errors
}

// Elements is the number of values in the tensor.
func (t Tensor) Elements() int64 {
	n := int64(1)
	for _, d := range t.Dims {
		n *= int64(d)
	}
	return n
}

// Open maps the file, or all parts of a split one when path is the first, and reads
// the header. The caller closes it.
func Open(path string) (*File, error) {
	data, err := mapFile(path)
	if err != nil {
		return nil, err
	}
	f, err := parse(data)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w (in %s)", err, path), unix.Munmap(data))
	}
	f.mapped = append(f.mapped, data)
	if err := f.openParts(path); err != nil {
		return nil, errors.Join(fmt.Errorf("%w (in %s)", err, path), f.Close())
	}
	return f, nil
}

func mapFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe does not wait for its writer
	if err != nil {
		return nil, fmt.Errorf("gguf: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("gguf: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("gguf: %s is no regular file: %w", path, ErrFormat)
	}
	if info.Size() < headerBytes {
		return nil, fmt.Errorf("gguf: byte 0: header: %s has %d bytes, want %d: the file is cut off: %w", path, info.Size(), headerBytes, ErrFormat)
	}
	data, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("gguf: map %s: %w", path, err)
	}
	return data, nil
}

// Close ends the mapping. Whatever Data returned must not be used any more.
// Closing twice is fine.
func (f *File) Close() error {
	var err error
	f.close.Do(func() {
		for _, data := range f.mapped {
			err = errors.Join(err, unix.Munmap(data))
		}
		f.parts, f.mapped = nil, nil
	})
	return err
}

// Size is the length of the file, of all its parts together, in bytes.
func (f *File) Size() (n int64) {
	for _, p := range f.parts {
		n += int64(len(p))
	}
	return n
}

// Tensors returns all tensors in the order of the file.
func (f *File) Tensors() []Tensor { return slices.Clone(f.tensors) }

// Tensor returns the tensor of that name.
func (f *File) Tensor(name string) (Tensor, bool) {
	i, ok := f.index[name]
	if !ok {
		return Tensor{}, false
	}
	return f.tensors[i], true
}

// Data returns the tensor's bytes, t.Size of them. They lie in the mapping: they
// may not be written, and are gone after Close.
func (f *File) Data(t Tensor) []byte { return f.parts[t.part][t.Offset:][:t.Size:t.Size] }

// Drop tells the system that the tensor's pages are not needed in memory for
// now: it has been copied. Reading them again reads the file again.
func (f *File) Drop(t Tensor) {
	if f.mapped == nil {
		return
	}
	page := int64(os.Getpagesize())
	from, to := (t.Offset+page-1)/page*page, (t.Offset+t.Size)/page*page
	if from < to {
		_ = unix.Madvise(f.parts[t.part][from:to], unix.MADV_DONTNEED) // advice
	}
}

// Keys returns the keys of the metadata in the order of the file.
func (f *File) Keys() []string { return slices.Clone(f.keys) }

// Architecture is the value of general.architecture, "" when there is none.
func (f *File) Architecture() string {
	s, _ := f.String("general.architecture")
	return s
}

// String returns the text at key.
func (f *File) String(key string) (string, bool) {
	s, ok := f.values[key].text()
	return s, ok
}

// Uint returns the integer at key, of any width, when it is not negative.
func (f *File) Uint(key string) (uint64, bool) {
	v, there := f.values[key]
	n, ok := v.integer()
	return uint64(max(n, 0)), there && ok && n >= 0
}

// Float returns the number at key, of any type.
func (f *File) Float(key string) (float64, bool) {
	v, there := f.values[key]
	if n, ok := v.integer(); ok && there {
		return float64(n), true
	}
	return v.kind.float(v.bits)
}

// Bool returns the truth value at key.
func (f *File) Bool(key string) (value, ok bool) {
	v := f.values[key]
	return v.bits != 0, v.kind == kindBool
}

// Strings returns the array of texts at key. The texts are read at each call:
// keep the result.
func (f *File) Strings(key string) ([]string, bool) {
	v := f.values[key]
	if v.kind != kindArray || v.item != kindString {
		return nil, false
	}
	all := make([]string, v.count)
	r := reader{data: f.parts[0], at: v.start}
	for i := range all {
		all[i], _ = r.text("") // checked when the file was opened
	}
	return all, true
}

// Ints returns the array of integers or truth values at key.
func (f *File) Ints(key string) ([]int64, bool) {
	v := f.values[key]
	if v.kind != kindArray || v.item.width() == 0 || v.item == kindFloat32 || v.item == kindFloat64 {
		return nil, false
	}
	all := make([]int64, v.count)
	r := reader{data: f.parts[0], at: v.start}
	for i := range all {
		bits, _ := r.bits(v.item.width(), "")
		n, ok := value{kind: v.item, bits: bits}.integer()
		if !ok && v.item == kindBool {
			n = int64(bits)
		}
		all[i] = n
	}
	return all, true
}

// Floats returns the array of floats at key.
func (f *File) Floats(key string) ([]float32, bool) {
	v := f.values[key]
	if v.kind != kindArray || v.item != kindFloat32 && v.item != kindFloat64 {
		return nil, false
	}
	all := make([]float32, v.count)
	r := reader{data: f.parts[0], at: v.start}
	for i := range all {
		bits, _ := r.bits(v.item.width(), "")
		x, _ := v.item.float(bits)
		all[i] = float32(x)
	}
	return all, true
}

// Has tells whether the metadata has the key, of whatever type.
func (f *File) Has(key string) bool {
	_, ok := f.values[key]
	return ok
}
