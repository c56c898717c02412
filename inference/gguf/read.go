package gguf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

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
	at   int // in the file
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

// float returns bits of a kind as a number, when the kind is one of floats.
func (k kind) float(bits uint64) (float64, bool) {
	switch k {
	case kindFloat32:
		return float64(math.Float32frombits(uint32(bits))), true
	case kindFloat64:
		return math.Float64frombits(bits), true
	}
	return 0, false
}

// A reader reads the header. Every method checks the bytes that remain; what
// names the thing in errors.
type reader struct {
	data []byte
	at   int
	more int // bytes of the file behind data, which are not here
}

// left is how many bytes the file has from here on.
func (r *reader) left() int { return len(r.data) + r.more - r.at }

// errMore says that what is to be read is in the file, but not in data.
var errMore = errors.New("gguf: not in the bytes that are here")

// has tells whether the next n bytes are here, once left has said that they are.
func (r *reader) has(n int) error {
	if n > len(r.data)-r.at {
		return errMore
	}
	return nil
}

// bad is an error about what stands at a byte.
func (r *reader) bad(at int, format string, args ...any) error {
	return fmt.Errorf("gguf: byte %d: %s: %w", at, fmt.Sprintf(format, args...), ErrFormat)
}

func (r *reader) short(what string, want uint64) error {
	return r.bad(r.at, "%s needs %d bytes, %d are left: the file is cut off", what, want, r.left())
}

// bits reads a little-endian number of width bytes.
func (r *reader) bits(width int, what string) (uint64, error) {
	if r.left() < width {
		return 0, r.short(what, uint64(width))
	}
	if err := r.has(width); err != nil {
		return 0, err
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
	at := r.at
	n, err := r.bits(8, what)
	if err != nil {
		return 0, err
	}
	if n > uint64(limit) {
		return 0, r.bad(at, "%s is %d, at most %d", what, n, limit)
	}
	if n*uint64(each) > uint64(r.left()) {
		return 0, r.short(fmt.Sprintf("%s of %d", what, n), n*uint64(each))
	}
	return int(n), nil
}

func (r *reader) text(what string) (string, error) {
	n, err := r.count(maxString, 1, what)
	if err == nil {
		err = r.has(n)
	}
	if err != nil {
		return "", err
	}
	s := string(r.data[r.at:][:n])
	r.at += n
	return s, nil
}

// name reads a key or a tensor's name, the i-th of n.
func (r *reader) name(what string, i, n int) (string, error) {
	at := r.at
	if r.has(8) == nil { // a name that is too long is none, whatever follows
		if length := binary.LittleEndian.Uint64(r.data[at:]); length > maxName {
			return "", r.bad(at, "the name of %s %d of %d has %d bytes, at most %d", what, i+1, n, length, maxName)
		}
	}
	s, err := r.text(fmt.Sprintf("the name of %s %d of %d", what, i+1, n))
	if err != nil {
		return "", err
	}
	if s == "" || !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return "", r.bad(at, "%s %d of %d has no usable name", what, i+1, n)
	}
	return s, nil
}

func (r *reader) value(key string) (value, error) {
	at := r.at
	n, err := r.bits(4, "the type of "+key)
	if err != nil {
		return value{}, err
	}
	v := value{kind: kind(n), at: r.at}
	switch {
	case v.kind.width() > 0:
		if v.bits, err = r.bits(v.kind.width(), key); err == nil {
			err = r.sound(v.kind, v.bits, v.at, key)
		}
	case v.kind == kindString:
		v.str, err = r.text(key)
	case v.kind == kindArray:
		err = r.array(&v, key)
	default:
		err = r.bad(at, "%s has the unknown type %d", key, n)
	}
	return v, err
}

// sound refuses bits that are no value of their kind.
func (r *reader) sound(k kind, bits uint64, at int, key string) error {
	if x, ok := k.float(bits); ok && math.IsNaN(x) {
		return r.bad(at, "%s is not a number (NaN)", key)
	}
	if k == kindBool && bits > 1 {
		return r.bad(at, "%s is no truth value but %d", key, bits)
	}
	return nil
}

// array checks an array and steps over its items.
func (r *reader) array(v *value, key string) error {
	at := r.at
	n, err := r.bits(4, "the item type of "+key)
	if err != nil {
		return err
	}
	v.item = kind(n)
	each := v.item.width()
	switch {
	case v.item == kindString:
		each = 8
	case v.item == kindArray:
		return r.bad(at, "%s is an array of arrays, which is not supported", key)
	case each == 0:
		return r.bad(at, "%s has items of the unknown type %d", key, n)
	}
	if v.count, err = r.count(maxArray, each, key); err != nil {
		return err
	}
	v.start = r.at
	if v.item == kindString {
		return r.texts(v, key)
	}
	if err := r.has(v.count * each); err != nil {
		return err
	}
	r.at += v.count * each
	if v.item != kindFloat32 && v.item != kindFloat64 && v.item != kindBool {
		return nil
	}
	items := reader{data: r.data, at: v.start}
	for range v.count {
		at := items.at
		bits, _ := items.bits(each, key) // r.count has seen them
		if err := r.sound(v.item, bits, at, "an item of "+key); err != nil {
			return err
		}
	}
	return nil
}

// texts steps over the items of an array of texts.
func (r *reader) texts(v *value, key string) error {
	for i := range v.count {
		if r.left() < 8 {
			return r.short(fmt.Sprintf("item %d of %s", i, key), 8)
		}
		if err := r.has(8); err != nil {
			return err
		}
		n := binary.LittleEndian.Uint64(r.data[r.at:])
		if n > maxString || n > uint64(r.left()-8) {
			return r.bad(r.at, "item %d of %s is a text of %d bytes, %d are left: the file is cut off", i, key, n, r.left()-8)
		}
		if err := r.has(8 + int(n)); err != nil {
			return err
		}
		r.at += 8 + int(n)
	}
	return nil
}

// tensor reads one description, the i-th of n.
func (r *reader) tensor(i, n int) (t Tensor, err error) {
	t.info = r.at
	if t.Name, err = r.name("tensor", i, n); err != nil {
		return t, err
	}
	at := r.at
	dims, err := r.bits(4, "the dimensions of tensor "+t.Name)
	if err != nil {
		return t, err
	}
	if dims == 0 || dims > maxDims {
		return t, r.bad(at, "tensor %q has %d dimensions, want 1 to %d", t.Name, dims, maxDims)
	}
	t.Dims = make([]uint64, dims)
	for d := range t.Dims {
		if t.Dims[d], err = r.bits(8, "the dimensions of tensor "+t.Name); err != nil {
			return t, err
		}
	}
	at = r.at
	typ, err := r.bits(4, "the type of tensor "+t.Name)
	if err != nil {
		return t, err
	}
	t.Type = uint32(typ)
	if t.Size, err = sizeOf(t); err != nil {
		return t, r.bad(at, "tensor %q %v", t.Name, err)
	}
	at = r.at
	offset, err := r.bits(8, "the offset of tensor "+t.Name)
	if err == nil && offset > uint64(len(r.data)) {
		err = r.bad(at, "tensor %q starts at byte %d of the data, the file has %d: it is cut off or not whole", t.Name, offset, len(r.data))
	}
	t.Offset = int64(offset)
	return t, err
}
