package core

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseModelRef(t *testing.T) {
	tests := map[string]struct {
		want ModelRef
		kind Kind
	}{
		"":                       {want: "embedded"},
		"embedded":               {want: "embedded"},
		"/a/../b/m.gguf":         {want: "file:/b/m.gguf"},
		"file:/a b/m.gguf":       {want: "file:/a b/m.gguf"},
		"file:m.gguf":            {kind: Invalid},
		"m.gguf":                 {kind: ModelNotFound},
		"hf:org/repo:Q4_K_M":     {kind: Unsupported},
		"org/repo":               {kind: Unsupported},
		"tinyllama":              {kind: Unsupported},
		"../x":                   {kind: Invalid},
		"a b":                    {kind: Invalid},
		strings.Repeat("a", 600): {kind: Invalid},
	}
	for text, tt := range tests {
		got, err := ParseModelRef(text)
		if got != tt.want || tt.kind != "" && !errors.Is(err, tt.kind) || tt.kind == "" && err != nil {
			t.Errorf("ParseModelRef(%.40q): got %q, %v; want %q %s", text, got, err, tt.want, tt.kind)
		}
	}
}

func FuzzParseModelRef(f *testing.F) {
	f.Add("file:/a/../../b")
	f.Add("hf:org/repo@rev:Q4_K_M")
	f.Fuzz(func(t *testing.T, text string) {
		ref, err := ParseModelRef(text)
		if path, ok := ref.Path(); err == nil && ok && (!filepath.IsAbs(path) || path != filepath.Clean(path)) {
			t.Errorf("%q became %q", text, ref)
		}
	})
}
