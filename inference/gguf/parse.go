package gguf

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"strings"
	"unicode/utf8"
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

// Parse reads the header of a whole file in memory. data must stay as it is for
// as long as the File is used. Close does nothing to it.
func Parse(data []byte) (*File, error) {
	f := &File{data: data, values: map[string]value{}, index: map[string]int{}}
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

// header reads magic, version and the two counts.
func (f *File) header(r *reader) (keys, tensors int, err error) {
	if len(r.data) < headerBytes {
		return 0, 0, fmt.Errorf("gguf: %d bytes, too few for a header: %w", len(r.data), ErrFormat)
	}
	if string(r.data[:4]) != magic {
		return 0, 0, fmt.Errorf("gguf: starts with %q, not with %q: %w", r.data[:4], magic, ErrFormat)
	}
	f.Version = binary.LittleEndian.Uint32(r.data[4:])
	switch {
	case f.Version == 1:
		return 0, 0, fmt.Errorf("gguf: version 1 is not supported, convert the file again: %w", ErrFormat)
	case f.Version != 0 && f.Version&0xffff == 0:
		return 0, 0, fmt.Errorf("gguf: big-endian files are not supported, convert the file on a little-endian machine: %w", ErrFormat)
	case f.Version != 2 && f.Version != 3:
		return 0, 0, fmt.Errorf("gguf: version %d is not supported, want 2 or 3: %w", f.Version, ErrFormat)
	}
	r.at = 8
	if tensors, err = r.count(maxTensors, 4+8+4+8, "tensor count"); err != nil {
		return 0, 0, err
	}
	keys, err = r.count(maxKeys, 8+4+1, "key count")
	return keys, tensors, err
}

func (f *File) metadata(r *reader, n int) error {
	for i := range n {
		key, err := r.name(fmt.Sprintf("key %d of %d", i+1, n))
		if err != nil {
			return err
		}
		v, err := r.value(key)
		if err != nil {
			return err
		}
		if _, twice := f.values[key]; twice {
			return fmt.Errorf("gguf: key %q stands twice: %w", key, ErrFormat)
		}
		f.values[key], f.keys = v, append(f.keys, key)
	}
	return nil
}

// infos reads the tensors' descriptions; their offsets are from the start of the data.
func (f *File) infos(r *reader, n int) error {
	for i := range n {
		t, err := r.tensor(fmt.Sprintf("tensor %d of %d", i+1, n))
		if err != nil {
			return err
		}
		if _, twice := f.index[t.Name]; twice {
			return fmt.Errorf("gguf: tensor %q stands twice: %w", t.Name, ErrFormat)
		}
		f.index[t.Name], f.tensors = len(f.tensors), append(f.tensors, t)
	}
	return nil
}

// place makes the offsets absolute and checks that every tensor lies in the file.
func (f *File) place(end int) error {
	align := uint64(defaultAlign)
	if f.Has("general.alignment") {
		n, ok := f.Uint("general.alignment")
		if !ok || n == 0 || n > maxAlignment || n&(n-1) != 0 {
			return fmt.Errorf("gguf: general.alignment is no power of two up to %d: %w", maxAlignment, ErrFormat)
		}
		align = n
	}
	start := (uint64(end) + align - 1) / align * align
	for i := range f.tensors {
		t := &f.tensors[i]
		if uint64(t.Offset)%align != 0 {
			return fmt.Errorf("gguf: tensor %q is not aligned to %d: %w", t.Name, align, ErrFormat)
		}
		last, overflow := bits.Add64(start+uint64(t.Offset), uint64(t.Size), 0)
		if overflow != 0 || start+uint64(t.Offset) < start || last > uint64(len(f.data)) {
			return fmt.Errorf("gguf: tensor %q ends at byte %d, the file at %d: it is cut off or not whole: %w", t.Name, last, len(f.data), ErrFormat)
		}
		t.Offset += int64(start)
	}
	return nil
}

// A kind is a type of metadata value, by GGUF's numbers.
type kind uint32

const (
	kindUint8 kind = iota
	kindInt8
	kindUint16
	kindInt16
	kindUint32
	kindInt32
	kindFloat32
	kindBool
	kindString
	kindArray
	kindUint64
	kindInt64
	kindFloat64
)

// width is the number of bytes of a kind of fixed size, else 0.
func (k kind) width() int {
	switch k {
	case kindUint8, kindInt8, kindBool:
		return 1
	case kindUint16, kindInt16:
		return 2
	case kindUint32, kindInt32, kindFloat32:
		return 4
	case kindUint64, kindInt64, kindFloat64:
		return 8
	}
	return 0
}

// A value is one metadata value: bits for what has a fixed size, str for a text,
// item, count and start for an array whose items stay in the file.
type value struct {
	kind kind
	bits uint64
	str  string

	item  kind
	count int
	start int
}

func (v value) text() (string, bool) { return v.str, v.kind == kindString }

func (v value) integer() (int64, bool) {
	switch v.kind {
	case kindUint8, kindUint16, kindUint32:
		return int64(v.bits), true
	case kindUint64:
		return int64(v.bits), int64(v.bits) >= 0
	case kindInt8:
		return int64(int8(v.bits)), true
	case kindInt16:
		return int64(int16(v.bits)), true
	case kindInt32:
		return int64(int32(v.bits)), true
	case kindInt64:
		return int64(v.bits), true
	}
	return 0, false
}

// A reader reads the header. Every method checks the bytes that remain; what
// names the thing in errors.
type reader struct {
	data []byte
	at   int
}

func (r *reader) left() int { return len(r.data) - r.at }

func (r *reader) short(what string, want uint64) error {
	return fmt.Errorf("gguf: %s at byte %d needs %d bytes, %d are left: the file is cut off: %w", what, r.at, want, r.left(), ErrFormat)
}

// bits reads a little-endian number of width bytes.
func (r *reader) bits(width int, what string) (uint64, error) {
	if r.left() < width {
		return 0, r.short(what, uint64(width))
	}
	var n uint64
	for i := range width {
		n |= uint64(r.data[r.at+i]) << (8 * i)
	}
	r.at += width
	return n, nil
}

// count reads a number of things that take at least each bytes, limit of them at most.
func (r *reader) count(limit, each int, what string) (int, error) {
	n, err := r.bits(8, what)
	if err != nil {
		return 0, err
	}
	if n > uint64(limit) {
		return 0, fmt.Errorf("gguf: %s is %d, at most %d: %w", what, n, limit, ErrFormat)
	}
	if n*uint64(each) > uint64(r.left()) {
		return 0, r.short(what+" "+fmt.Sprint(n), n*uint64(each))
	}
	return int(n), nil
}

func (r *reader) text(what string) (string, error) {
	n, err := r.count(maxString, 1, what)
	if err != nil {
		return "", err
	}
	s := string(r.data[r.at:][:n])
	r.at += n
	return s, nil
}

// name reads a key or a tensor's name.
func (r *reader) name(what string) (string, error) {
	s, err := r.text(what)
	if err != nil {
		return "", err
	}
	if s == "" || len(s) > maxName || !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return "", fmt.Errorf("gguf: %s has no usable name: %w", what, ErrFormat)
	}
	return s, nil
}

func (r *reader) value(key string) (value, error) {
	n, err := r.bits(4, "type of "+key)
	if err != nil {
		return value{}, err
	}
	v := value{kind: kind(n)}
	switch {
	case v.kind.width() > 0:
		v.bits, err = r.bits(v.kind.width(), key)
	case v.kind == kindString:
		v.str, err = r.text(key)
	case v.kind == kindArray:
		err = r.array(&v, key)
	default:
		err = fmt.Errorf("gguf: %s has the unknown type %d: %w", key, n, ErrFormat)
	}
	return v, err
}

// array checks an array and steps over its items.
func (r *reader) array(v *value, key string) error {
	n, err := r.bits(4, "item type of "+key)
	if err != nil {
		return err
	}
	v.item = kind(n)
	each := v.item.width()
	switch {
	case v.item == kindString:
		each = 8
	case v.item == kindArray:
		return fmt.Errorf("gguf: %s is an array of arrays, which is not supported: %w", key, ErrFormat)
	case each == 0:
		return fmt.Errorf("gguf: %s has items of the unknown type %d: %w", key, n, ErrFormat)
	}
	if v.count, err = r.count(maxArray, each, key); err != nil {
		return err
	}
	v.start = r.at
	if v.item != kindString {
		r.at += v.count * each
		return nil
	}
	for range v.count {
		length, err := r.count(maxString, 1, "an item of "+key)
		if err != nil {
			return err
		}
		r.at += length
	}
	return nil
}

// tensor reads one description.
func (r *reader) tensor(what string) (t Tensor, err error) {
	if t.Name, err = r.name(what); err != nil {
		return t, err
	}
	dims, err := r.bits(4, "dimensions of "+t.Name)
	if err != nil {
		return t, err
	}
	if dims == 0 || dims > maxDims {
		return t, fmt.Errorf("gguf: tensor %q has %d dimensions, want 1 to %d: %w", t.Name, dims, maxDims, ErrFormat)
	}
	for range dims {
		d, err := r.bits(8, "dimensions of "+t.Name)
		if err != nil {
			return t, err
		}
		t.Dims = append(t.Dims, d)
	}
	typ, err := r.bits(4, "type of "+t.Name)
	if err != nil {
		return t, err
	}
	t.Type = uint32(typ)
	offset, err := r.bits(8, "offset of "+t.Name)
	if err != nil {
		return t, err
	}
	if offset > uint64(len(r.data)) {
		return t, fmt.Errorf("gguf: tensor %q starts at byte %d of its data, the file has %d: it is cut off or not whole: %w", t.Name, offset, len(r.data), ErrFormat)
	}
	t.Offset = int64(offset)
	t.Size, err = sizeOf(t)
	return t, err
}
