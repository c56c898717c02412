package gguf

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writeSet writes the parts of a split file and returns the path of each.
func writeSet(t *testing.T, parts ...[]byte) []string {
	t.Helper()
	dir := t.TempDir()
	var paths []string
	for i, data := range parts {
		paths = append(paths, filepath.Join(dir, fmt.Sprintf("m-%05d-of-%05d.gguf", i+1, len(parts))))
		if err := os.WriteFile(paths[i], data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return paths
}

func TestSplit(t *testing.T) {
	paths := writeSet(t, part(0, 3, 3), part(1, 3, 3), part(2, 3, 3))
	f, err := Open(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i := range 3 {
		tt, ok := f.Tensor(fmt.Sprintf("t%d", i))
		f.Drop(tt)
		if data := f.Data(tt); !ok || len(data) != 4 || int(data[0]) != i {
			t.Errorf("tensor %d: %v, %v", i, data, ok)
		}
	}
	if want := int64(3 * len(part(0, 3, 3))); f.Size() != want || len(f.Tensors()) != 3 {
		t.Errorf("%d bytes and %d tensors, want %d and 3", f.Size(), len(f.Tensors()), want)
	}
	if got := Parts(paths[1]); len(got) != 3 || got[0] != paths[0] || got[2] != paths[2] {
		t.Errorf("Parts: %q", got)
	}
	if got := Parts("model.gguf"); len(got) != 1 || got[0] != "model.gguf" {
		t.Errorf("Parts of a whole file: %q", got)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// cut makes n parts of a file: the metadata in the first, the tensors in turns.
func cut(t *testing.T, data []byte, n int) (parts [][]byte) {
	t.Helper()
	f, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{data: data}
	if _, _, err := f.header(r); err != nil {
		t.Fatal(err)
	}
	metadata := data[r.at:f.tensors[0].info]
	share := make([][]Tensor, n)
	for i, tt := range f.tensors {
		share[i%n] = append(share[i%n], tt)
	}
	for no, own := range share {
		keys := uint64(3)
		if no == 0 {
			keys += uint64(len(f.keys))
		}
		w := new(writer).header(3, uint64(len(own)), keys)
		if no == 0 {
			w.Write(metadata)
		}
		w.str("split.no").u32(2).raw(byte(no), 0).str("split.count").u32(2).raw(byte(n), 0)
		w.str("split.tensors.count").u32(5).u32(uint32(len(f.tensors)))
		at := uint64(0)
		for _, tt := range own {
			w.tensor(tt.Name, tt.Type, at, tt.Dims...)
			at += uint64(tt.Size+31) / 32 * 32
		}
		for _, tt := range own {
			w.align().Write(f.Data(tt))
		}
		parts = append(parts, w.align().Bytes())
	}
	return parts
}

// A model in three parts is the model.
func TestSplitModel(t *testing.T) {
	data, err := os.ReadFile("../model/testdata/llama-256-q4_k_m.gguf")
	if err != nil {
		t.Fatal(err)
	}
	whole, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Open(writeSet(t, cut(t, data, 3)...)[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if len(f.Tensors()) != len(whole.Tensors()) || f.Parameters() != whole.Parameters() || f.Quantization() != whole.Quantization() {
		t.Errorf("%d tensors of %d weights, %s", len(f.Tensors()), f.Parameters(), f.Quantization())
	}
	for _, want := range whole.Tensors() {
		got, ok := f.Tensor(want.Name)
		if !ok || !bytes.Equal(f.Data(got), whole.Data(want)) {
			t.Errorf("tensor %q differs, or is not there: %v", want.Name, ok)
		}
	}
	a, _ := f.Needs(64, 1)
	if b, err := whole.Needs(64, 1); err != nil || a != b {
		t.Errorf("needs %+v, in one file %+v, %v", a, b, err)
	}
}

func TestSplitRefused(t *testing.T) {
	tests := map[string]struct {
		parts [][]byte
		open  int
		gone  int
		says  string
	}{
		"another part":     {[][]byte{part(0, 2, 2), part(1, 2, 2)}, 1, -1, "part 2 of 2: open"},
		"a missing part":   {[][]byte{part(0, 3, 3), part(1, 3, 3), part(2, 3, 3)}, 0, 1, "part 2 of 3 is missing"},
		"parts exchanged":  {[][]byte{part(0, 3, 3), part(2, 3, 3), part(1, 3, 3)}, 0, -1, "this is part 3 of 3, want part 2 of 3"},
		"the name's count": {[][]byte{part(0, 3, 3), part(1, 3, 3)}, 0, -1, "its name must end in -00001-of-00003.gguf"},
		"another set":      {[][]byte{part(0, 2, 2), part(1, 2, 5)}, 0, -1, "another set"},
		"too few tensors":  {[][]byte{part(0, 2, 3), part(1, 2, 3)}, 0, -1, "split.tensors.count is 3, the 2 parts have 2"},
		"part cut off":     {[][]byte{part(0, 2, 2), part(1, 2, 2)[:100]}, 0, -1, "in part 2 of 2"},
		"tensor twice":     {[][]byte{part(0, 2, 2), splitKeys(1, 2, 2, 1).tensor("t0", 0, 0, 1).align().u32(0).Bytes()}, 0, -1, `"t0" stands twice`},
		"a whole file":     {[][]byte{part(0, 2, 2), small()}, 0, -1, "this is part 1 of 1, want part 2 of 2"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			paths := writeSet(t, tt.parts...)
			if tt.gone >= 0 {
				if err := os.Remove(paths[tt.gone]); err != nil {
					t.Fatal(err)
				}
			}
			_, err := Open(paths[tt.open])
			if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want it to say %q", err, tt.says)
			}
		})
	}
	paths := writeSet(t, part(0, 2, 2), part(1, 2, 2))
	other := filepath.Join(filepath.Dir(paths[0]), "renamed.gguf")
	if err := os.Rename(paths[0], other); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(other); err == nil || !strings.Contains(err.Error(), "its name must end in") {
		t.Errorf("a renamed first part: %v", err)
	}
}

func FuzzSplit(f *testing.F) {
	a, b := part(0, 2, 2), part(1, 2, 2)
	f.Add(a, b)
	for n := 24; n < len(a); n += 17 {
		f.Add(a[:n], b)
		f.Add(a, b[:n])
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		g, err := ParseSet(a, b)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Errorf("an error of another kind: %v", err)
			}
			return
		}
		for _, tt := range g.Tensors() {
			_ = g.Data(tt)
		}
		_, _ = g.Needs(128, 1)
	})
}
