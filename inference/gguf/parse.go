package gguf

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
)

// What no honest file exceeds.
const (
	headerBytes  = 24
	maxKeys      = 1 << 16
	maxTensors   = 1 << 16
	maxName      = 1 << 10
	maxString    = 64 << 20
	maxArray     = 1 << 26
	maxDims      = 4
	maxAlignment = 1 << 20
	defaultAlign = 32
)

const magic = "GGUF"

// A whole model's bytes are checked in this order: header, metadata, tensors'
// descriptions, where the tensors lie. What is taken from the heap is bounded by
// the file's size, and small beside it.

// Parse reads the header of a whole file in memory. data must stay as it is for
// as long as the File is used. Close does nothing to it.
func Parse(data []byte) (*File, error) { return ParseSet(data) }

// ParseSet is Parse of the parts of a split file, in their order.
func ParseSet(parts ...[]byte) (*File, error) {
	if len(parts) == 0 {
		return nil, fmt.Errorf("gguf: no parts: %w", ErrFormat)
	}
	f, err := parse(parts[0])
	if err != nil {
		return nil, err
	}
	at, err := f.split()
	if err != nil {
		return nil, err
	}
	switch {
	case at.no != 0:
		return nil, fmt.Errorf("gguf: byte %d: split.no: this is part %d of %d: open the first: %w", f.at("split.no"), at.no+1, at.count, ErrFormat)
	case at.count != len(parts):
		return nil, fmt.Errorf("gguf: byte %d: split.count is %d, but %d parts are given: %w", f.at("split.count"), at.count, len(parts), ErrFormat)
	}
	for i, data := range parts[1:] {
		if err := f.join(i+1, data, at); err != nil {
			return nil, err
		}
	}
	return f, f.complete(at)
}

// parse reads one file, which may be a part.
func parse(data []byte) (*File, error) {
	f := &File{parts: [][]byte{data}, values: map[string]value{}, index: map[string]int{}}
	r := &reader{data: data}
	keys, tensors, err := f.header(r)
	if err != nil {
		return nil, err
	}
	if err := f.metadata(r, keys); err != nil {
		return nil, err
	}
	if err := f.infos(r, tensors); err != nil {
		return nil, err
	}
	return f, f.place(r.at)
}

// Advice for files that others than us can mend.
const (
	adviceOld    = "convert the original model again with llama.cpp's convert_hf_to_gguf.py, or download a newer file"
	adviceEndian = "convert it with gguf-py's gguf_convert_endian.py FILE little, or download the little-endian file"
)

// header reads magic, version and the two counts.
func (f *File) header(r *reader) (keys, tensors int, err error) {
	if r.left() < headerBytes {
		return 0, 0, r.bad(0, "header: %d bytes, want %d: the file is cut off", r.left(), headerBytes)
	}
	if err := r.has(headerBytes); err != nil {
		return 0, 0, err
	}
	switch string(r.data[:4]) {
	case magic:
	case "lmgg", "fmgg", "tjgg", "algg":
		return 0, 0, r.bad(0, "magic: an old GGML file, which is not supported: %s", adviceOld)
	case "FUGG":
		return 0, 0, r.bad(0, "magic: big-endian files are not supported: %s", adviceEndian)
	default:
		return 0, 0, r.bad(0, "magic: the file starts with %q, not with %q", r.data[:4], magic)
	}
	f.Version = binary.LittleEndian.Uint32(r.data[4:])
	switch {
	case f.Version != 0 && f.Version&0xffff == 0:
		return 0, 0, r.bad(4, "version: big-endian files are not supported: %s", adviceEndian)
	case f.Version == 1:
		return 0, 0, r.bad(4, "version 1 is not supported, only 2 and 3: %s", adviceOld)
	case f.Version != 2 && f.Version != 3:
		return 0, 0, r.bad(4, "version %d is not supported, only 2 and 3", f.Version)
	}
	r.at = 8
	if tensors, err = r.count(maxTensors, 8+1+4+8+4+8, "tensor count"); err != nil {
		return 0, 0, err
	}
	keys, err = r.count(maxKeys, 8+1+4+1, "key count")
	return keys, tensors, err
}

// metadata reads n keys with their values. After an error r stands at the key whose
// value could not be read.
func (f *File) metadata(r *reader, n int) error {
	for i := range n {
		at := r.at
		key, err := r.name("key", i, n)
		if err != nil {
			return err
		}
		if _, twice := f.values[key]; twice {
			return r.bad(at, "key %q stands twice", key)
		}
		v, err := r.value(key)
		if err != nil {
			r.at = at
			return err
		}
		f.values[key], f.keys = v, append(f.keys, key)
	}
	return nil
}

// infos reads the tensors' descriptions; their offsets are from the start of the data.
func (f *File) infos(r *reader, n int) error {
	for i := range n {
		at := r.at
		t, err := r.tensor(i, n)
		if err != nil {
			return err
		}
		if _, twice := f.index[t.Name]; twice {
			return r.bad(at, "tensor %q stands twice", t.Name)
		}
		f.index[t.Name], f.tensors = len(f.tensors), append(f.tensors, t)
	}
	return nil
}

// alignment is what the tensors' offsets are multiples of.
func (f *File) alignment() (uint64, error) {
	if !f.Has("general.alignment") {
		return defaultAlign, nil
	}
	n, ok := f.Uint("general.alignment")
	if !ok || n == 0 || n > maxAlignment || n&(n-1) != 0 {
		return 0, fmt.Errorf("gguf: byte %d: general.alignment is no power of two from 1 to %d: %w", f.at("general.alignment"), maxAlignment, ErrFormat)
	}
	return n, nil
}

// place makes the offsets absolute and checks that every tensor lies in the file
// and on none of the others.
func (f *File) place(end int) error {
	align, err := f.alignment()
	if err != nil {
		return err
	}
	r, size := reader{}, uint64(len(f.parts[0]))
	start := (uint64(end) + align - 1) / align * align
	for i := range f.tensors {
		t := &f.tensors[i]
		if uint64(t.Offset)%align != 0 {
			return r.bad(t.info, "tensor %q: its offset %d is not aligned to %d", t.Name, t.Offset, align)
		}
		last, overflow := bits.Add64(start+uint64(t.Offset), uint64(t.Size), 0)
		if overflow != 0 || start+uint64(t.Offset) < start || last > size {
			return r.bad(t.info, "tensor %q ends at byte %d, the file at %d: it is cut off or not whole", t.Name, last, size)
		}
		t.Offset += int64(start)
	}
	return f.apart()
}

// apart checks that no two tensors share bytes.
func (f *File) apart() error {
	order := slices.Clone(f.tensors)
	slices.SortFunc(order, func(a, b Tensor) int { return cmp.Compare(a.Offset, b.Offset) })
	for i := 1; i < len(order); i++ {
		if a, b := order[i-1], order[i]; a.Offset+a.Size > b.Offset {
			return (&reader{}).bad(b.info, "tensor %q starts at byte %d, in tensor %q, which ends at %d", b.Name, b.Offset, a.Name, a.Offset+a.Size)
		}
	}
	return nil
}

// at is where the value of a key lies in the first part, for errors.
func (f *File) at(key string) int { return f.values[key].at }
