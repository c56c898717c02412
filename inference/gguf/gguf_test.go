package gguf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A writer makes GGUF files, good and bad ones.
type writer struct{ bytes.Buffer }

func (w *writer) u32(n uint32) *writer {
	_ = binary.Write(w, binary.LittleEndian, n)
	return w
}

func (w *writer) u64(n uint64) *writer {
	_ = binary.Write(w, binary.LittleEndian, n)
	return w
}

func (w *writer) str(s string) *writer {
	w.u64(uint64(len(s))).WriteString(s)
	return w
}

func (w *writer) header(version uint32, tensors, keys uint64) *writer {
	w.WriteString("GGUF")
	return w.u32(version).u64(tensors).u64(keys)
}

func (w *writer) tensor(name string, typ uint32, offset uint64, dims ...uint64) *writer {
	w.str(name).u32(uint32(len(dims)))
	for _, d := range dims {
		w.u64(d)
	}
	return w.u32(typ).u64(offset)
}

// small is a file with one value of each kind that matters and one tensor.
func small() []byte {
	w := new(writer).header(3, 1, 6)
	w.str("general.architecture").u32(8).str("llama")
	w.str("n").u32(4).u32(7)
	w.str("neg").u32(5).u32(0xffffffff)
	w.str("f").u32(6).u32(0x3f800000)
	w.str("texts").u32(9).u32(8).u64(2).str("a").str("bc")
	w.str("yes").u32(7).WriteByte(1)
	w.tensor("t", 0, 0, 2, 3)
	for w.Len()%32 != 0 {
		w.WriteByte(0)
	}
	w.Write(make([]byte, 24))
	return w.Bytes()
}

func TestParse(t *testing.T) {
	f, err := Parse(small())
	if err != nil {
		t.Fatal(err)
	}
	if n, ok := f.Uint("n"); n != 7 || !ok {
		t.Errorf("Uint: %d, %v", n, ok)
	}
	if _, ok := f.Uint("neg"); ok {
		t.Error("a negative number as Uint")
	}
	if x, ok := f.Float("f"); x != 1 || !ok {
		t.Errorf("Float: %v, %v", x, ok)
	}
	if s, ok := f.Strings("texts"); !ok || strings.Join(s, ",") != "a,bc" {
		t.Errorf("Strings: %q, %v", s, ok)
	}
	if v, ok := f.Bool("yes"); !v || !ok {
		t.Errorf("Bool: %v, %v", v, ok)
	}
	for _, key := range []string{"missing", "texts", "f"} {
		if _, ok := f.Uint(key); ok {
			t.Errorf("Uint(%q) is there", key)
		}
	}
	if tt, ok := f.Tensor("t"); !ok || tt.Elements() != 6 || len(f.Data(tt)) != 24 || f.Architecture() != "llama" {
		t.Errorf("Tensor: %+v, %v", tt, ok)
	}
}

// A file that is cut off anywhere is refused, and says so.
func TestTruncated(t *testing.T) {
	whole := small()
	for n := range len(whole) {
		if _, err := Parse(whole[:n]); !errors.Is(err, ErrFormat) {
			t.Fatalf("the first %d of %d bytes: got %v", n, len(whole), err)
		}
	}
}

func TestRefused(t *testing.T) {
	pad := make([]byte, 4096)
	with := func(w *writer) []byte { w.Write(pad); return w.Bytes() }
	tests := map[string]struct {
		data []byte
		says string
	}{
		"text":             {[]byte("Once upon a time there was a model."), `starts with "Once"`},
		"version 1":        {with(new(writer).header(1, 0, 0)), "version 1"},
		"version 9":        {with(new(writer).header(9, 0, 0)), "version 9"},
		"big-endian":       {with(new(writer).header(3<<24, 0, 0)), "big-endian"},
		"many tensors":     {with(new(writer).header(3, 1<<60, 0)), "tensor count"},
		"more keys":        {with(new(writer).header(3, 0, 60000)), "key count"},
		"long string":      {with(new(writer).header(3, 0, 1).str("k").u32(8).u64(1 << 40)), "k is"},
		"array of arrays":  {with(new(writer).header(3, 0, 1).str("k").u32(9).u32(9).u64(1)), "array of arrays"},
		"long array":       {with(new(writer).header(3, 0, 1).str("k").u32(9).u32(0).u64(1 << 20)), "needs 1048576 bytes"},
		"unknown type":     {with(new(writer).header(3, 0, 1).str("k").u32(99)), "unknown type 99"},
		"key twice":        {with(new(writer).header(3, 0, 2).str("k").u32(4).u32(1).str("k").u32(4).u32(1)), "twice"},
		"no name":          {with(new(writer).header(3, 0, 1).str("").u32(4).u32(1)), "no usable name"},
		"no dimension":     {with(new(writer).header(3, 1, 0).tensor("t", 0, 0)), "0 dimensions"},
		"zero dimension":   {with(new(writer).header(3, 1, 0).tensor("t", 0, 0, 4, 0)), "impossible dimensions"},
		"overflow":         {with(new(writer).header(3, 1, 0).tensor("t", 0, 0, 1<<40, 1<<40)), "impossible dimensions"},
		"half a block":     {with(new(writer).header(3, 1, 0).tensor("t", 8, 0, 33)), "no multiple of Q8_0's 32"},
		"tensor type":      {with(new(writer).header(3, 1, 0).tensor("t", 77, 0, 32)), "unknown type 77"},
		"misaligned":       {with(new(writer).header(3, 1, 0).tensor("t", 0, 4, 4)), "not aligned"},
		"behind the end":   {with(new(writer).header(3, 1, 0).tensor("t", 0, 0, 4096)), "cut off"},
		"offset overflows": {with(new(writer).header(3, 1, 0).tensor("t", 0, 1<<63, 4)), "cut off"},
		"tensor twice":     {with(new(writer).header(3, 2, 0).tensor("t", 0, 0, 4).tensor("t", 0, 32, 4)), "twice"},
		"alignment":        {with(new(writer).header(3, 0, 1).str("general.alignment").u32(4).u32(24)), "general.alignment"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(tt.data)
			if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want it to say %q", err, tt.says)
			}
		})
	}
}

func TestOpen(t *testing.T) {
	name := filepath.Join(t.TempDir(), "small.gguf")
	if err := os.WriteFile(name, small(), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	tt, _ := f.Tensor("t")
	f.Drop(tt)
	if got := f.Data(tt); len(got) != 24 || got[0] != 0 {
		t.Errorf("Data after Drop: %v", got)
	}
	for range 2 {
		if err := f.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if _, err := Open(filepath.Dir(name)); err == nil {
		t.Error("a directory was opened")
	}
	pipe := filepath.Join(filepath.Dir(name), "pipe.gguf") // nobody ever writes to it
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(pipe); !errors.Is(err, ErrFormat) {
		t.Errorf("a pipe: %v", err)
	}
	if _, err := Open(name + ".not"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	whole := small()
	for n := 0; n <= len(whole); n += 7 {
		f.Add(whole[:n])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := Parse(data)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Errorf("an error of another kind: %v", err)
			}
			return
		}
		for _, key := range g.Keys() { // what was accepted can be read
			g.Strings(key)
			g.Ints(key)
			g.Floats(key)
			g.Float(key)
		}
		for _, tt := range g.Tensors() {
			_ = g.Data(tt)
		}
		_, _ = g.Needs(128, 1)
	})
}
