package gguf

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Of the models that the engine's tests have, the first bytes tell the same needs
// as the whole file, without the weights.
func TestParsePrefixOfModels(t *testing.T) {
	files, err := filepath.Glob("../model/testdata/*.gguf")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		whole, err := Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		here := data
		if tokens := bytes.Index(data, []byte("tokenizer.ggml.tokens")); tokens > 0 {
			here = data[:tokens+100]
		}
		f, enough, err := ParsePrefix(here, int64(len(data)))
		if err != nil || !enough || f.Architecture() != whole.Architecture() {
			t.Errorf("%s: architecture %q, enough %v, %v", name, f.Architecture(), enough, err)
			continue
		}
		want, err := whole.Needs(128, 4)
		if !f.Has("general.file_type") && whole.HalfCache() {
			want.KV *= 2 // which the prefix does not tell
		}
		got, gotErr := f.Needs(128, 4)
		if err != nil || gotErr != nil || got.Weights != 0 || got.KV != want.KV || got.Compute > want.Compute || got.Compute < want.Compute/2 {
			t.Errorf("%s: got %+v, %v; want %+v, %v", name, got, gotErr, want, err)
		}
	}
}

func TestParsePrefix(t *testing.T) {
	whole := small()
	infos := bytes.Index(whole, []byte("yes")) + 8 // where the metadata end
	last := 0
	for n := range len(whole) + 1 {
		f, enough, err := ParsePrefix(whole[:n], int64(len(whole)))
		if err != nil || enough != (n >= infos) {
			t.Fatalf("%d bytes: enough %v, %v", n, enough, err)
		}
		if got := len(f.Keys()); got < last {
			t.Errorf("%d bytes hold %d keys, fewer %d", n, got, last)
		} else {
			last = got
		}
	}
	if last != 6 {
		t.Errorf("the whole file has %d keys, want 6", last)
	}
	bad := slices.Concat(whole[:30], []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, whole[36:])
	for name, data := range map[string][]byte{"text": []byte("<!DOCTYPE html><html><head>"), "a length out of range": bad} {
		if _, _, err := ParsePrefix(data, 1<<30); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: got %v, want an error of the format", name, err)
		}
	}
	if _, _, err := ParsePrefix(whole[:40], 60); !errors.Is(err, ErrFormat) {
		t.Errorf("a file of 60 bytes: got %v, want that it is cut off", err)
	}
}

// What is whole in a prefix can be read, and is what the whole file says.
func FuzzParsePrefix(f *testing.F) {
	whole := small()
	for n := 0; n <= len(whole); n += 7 {
		f.Add(whole, n)
	}
	f.Fuzz(func(t *testing.T, data []byte, n int) {
		n = min(max(n, 0), len(data))
		g, _, err := ParsePrefix(data[:n], int64(len(data)))
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Errorf("an error of another kind: %v", err)
			}
			return
		}
		for _, key := range g.Keys() {
			g.Strings(key)
			g.Ints(key)
			g.Floats(key)
		}
		_, _ = g.Needs(128, 1)
		all, err := Parse(data)
		if err == nil && !slices.Equal(g.Keys(), all.Keys()[:len(g.Keys())]) {
			t.Errorf("the prefix has the keys %q, the file %q", g.Keys(), all.Keys())
		}
	})
}
