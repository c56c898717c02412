package core_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"rbee/core"
)

func TestParseModelRef(t *testing.T) {
	tests := map[string]struct {
		want core.ModelRef
		kind core.Kind
		says string
	}{
		"":                 {want: "embedded"},
		"embedded":         {want: "embedded"},
		"/a/../b/m.gguf":   {want: "file:/b/m.gguf"},
		"file:/a b/m.gguf": {want: "file:/a b/m.gguf"},
		"file:m.gguf":      {kind: core.Invalid, says: "want an absolute path"},
		"file:/a\x00b":     {kind: core.Invalid, says: "want an absolute path"},

		"hf:org/repo":                                        {want: "hf:org/repo"},
		"org/repo":                                           {want: "hf:org/repo"},
		"hf:org/repo:Q4_K_M":                                 {want: "hf:org/repo:Q4_K_M"},
		"org/repo:q4_k_m":                                    {want: "hf:org/repo:Q4_K_M"},
		"org/repo:ud-q4_K_xl":                                {want: "hf:org/repo:UD-Q4_K_XL"},
		"org/repo:latest":                                    {want: "hf:org/repo"},
		"org/repo@main":                                      {want: "hf:org/repo@main"},
		"org/repo@refs/pr/1:Q8_0":                            {want: "hf:org/repo@refs/pr/1:Q8_0"},
		"org/repo@0123abc:dir/M-q4.gguf":                     {want: "hf:org/repo@0123abc:dir/M-q4.gguf"},
		"hf:org/repo:m-00001-of-00003.gguf":                  {want: "hf:org/repo:m-00001-of-00003.gguf"},
		"hf:org/repo/dir/m.gguf":                             {want: "hf:org/repo:dir/m.gguf"},
		"hf://org/repo":                                      {want: "hf:org/repo"},
		"hf.co/org/repo:Q4_K_M":                              {want: "hf:org/repo:Q4_K_M"},
		"huggingface.co/org/repo":                            {want: "hf:org/repo"},
		"https://huggingface.co/org/repo":                    {want: "hf:org/repo"},
		"https://hf.co/org/repo/":                            {want: "hf:org/repo"},
		"https://huggingface.co/org/repo/tree/v2":            {want: "hf:org/repo@v2"},
		"https://huggingface.co/org/repo?not=used":           {want: "hf:org/repo"},
		"https://huggingface.co/org/repo/blob/main/d/m.gguf": {want: "hf:org/repo:d/m.gguf"},
		"https://huggingface.co/org/repo/resolve/v2/m.gguf?download=true":   {want: "hf:org/repo@v2:m.gguf"},
		"https://huggingface.co/org/repo/blob/main/model-00001.safetensors": {kind: core.Unsupported, says: ".safetensors files are not supported"},

		"m.gguf":                            {kind: core.ModelNotFound, says: "model file m.gguf is not there"},
		"models/m.gguf":                     {kind: core.ModelNotFound, says: "model file models/m.gguf is not there"},
		"./org/repo":                        {kind: core.ModelNotFound, says: "is not there"},
		"tinyllama":                         {kind: core.ModelNotFound, says: "short name"},
		"gemma3:270m":                       {kind: core.ModelNotFound, says: "short name"},
		"hf:":                               {kind: core.Invalid, says: "want org/repo"},
		"hf:repo":                           {kind: core.Invalid, says: `"repo" is no repository`},
		"hf:org/repo:":                      {kind: core.Invalid},
		"hf:org/repo@":                      {kind: core.Invalid},
		"hf:org/repo@a@b":                   {kind: core.Invalid, says: "is no revision"},
		"hf:org/repo:a:b":                   {kind: core.Invalid, says: "is no quantization"},
		"hf:org/repo:/m.gguf":               {kind: core.Invalid, says: "is no file"},
		"hf:org/repo:.hid/m.gguf":           {kind: core.Invalid, says: "is no file"},
		"hf:org/repo:d/Q4_K_M":              {kind: core.Invalid, says: "is no quantization"},
		"hf:org/repo/more":                  {kind: core.Invalid, says: "want org/repo"},
		"hf:-org/repo":                      {kind: core.Invalid},
		"hf:hf://hf://x":                    {kind: core.Invalid},
		"org/repo:m.safetensors":            {kind: core.Unsupported, says: "only .gguf"},
		"https://example.com/m":             {kind: core.Unsupported, says: "only addresses of https://huggingface.co"},
		"http://huggingface.co/a/b":         {kind: core.Unsupported},
		"https://ollama.com/library/llama3": {kind: core.Unsupported, says: "Ollama's registry"},
		"https://[":                         {kind: core.Invalid},
		"https://huggingface.co/org":        {kind: core.Invalid, says: "want org/repo"},
		"../x":                              {kind: core.Invalid},
		"hf:org/re..po":                     {kind: core.Invalid},
		"a b":                               {kind: core.Invalid},
		"org/a b":                           {kind: core.Invalid},
		strings.Repeat("a", 600):            {kind: core.Invalid},
		"org/" + strings.Repeat("a", 506):   {kind: core.Invalid, says: "at most 512"}, // with hf: before it
	}
	for text, tt := range tests {
		t.Run(text, func(t *testing.T) {
			got, err := core.ParseModelRef(text)
			if got != tt.want || tt.kind != "" && !errors.Is(err, tt.kind) || tt.kind == "" && err != nil {
				t.Fatalf("ParseModelRef(%.40q): got %q, %v; want %q %s", text, got, err, tt.want, tt.kind)
			}
			if err != nil && !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v: it does not say %q", err, tt.says)
			}
		})
	}
}

func TestHub(t *testing.T) {
	tests := map[core.ModelRef]struct {
		want core.Hub
		ok   bool
		file bool
	}{
		"hf:org/repo":              {core.Hub{Repo: "org/repo"}, true, false},
		"hf:org/repo@v1:Q4_K_M":    {core.Hub{Repo: "org/repo", Revision: "v1", Tag: "Q4_K_M"}, true, false},
		"hf:org/repo@a/b:d/m.gguf": {core.Hub{Repo: "org/repo", Revision: "a/b", Tag: "d/m.gguf"}, true, true},
		"hf:org/repo:q4_k_m":       {core.Hub{Repo: "org/repo", Tag: "Q4_K_M"}, false, false}, // not in full form
		"embedded":                 {},
		"file:/m.gguf":             {},
		"hf:repo":                  {core.Hub{Repo: "repo"}, false, false},
	}
	for ref, tt := range tests {
		got, ok := ref.Hub()
		if got != tt.want || ok != tt.ok || got.File() != tt.file {
			t.Errorf("%s: got %+v, %v, file %v; want %+v, %v, %v", ref, got, ok, got.File(), tt.want, tt.ok, tt.file)
		}
	}
}

func TestIsAlias(t *testing.T) {
	tests := map[string]bool{
		"tinyllama": true, "llama3.2:1b": true, "gpt-oss:20b": true, "phi-4_mini": true,
		"": false, "embedded": false, "org/repo": false, "m.gguf": false, "a:b:c": false, ":b": false, "a:": false, "a b": false, "-a": false, "a..b": false,
	}
	for text, want := range tests {
		if got := core.IsAlias(text); got != want {
			t.Errorf("IsAlias(%q): got %v, want %v", text, got, want)
		}
	}
}

// Whatever is taken is in full form, and stays what it is when it is read again.
func FuzzParseModelRef(f *testing.F) {
	for _, text := range []string{
		"file:/a/../../b", "hf:org/repo@rev:Q4_K_M", "hf://org/repo/m.gguf", "https://huggingface.co/org/repo/resolve/main/m.gguf?x=y",
		"hf.co/o/r:latest", "tinyllama", "./m.gguf", "hf:o/r@refs/pr/1:d/M.GGUF",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ref, err := core.ParseModelRef(text)
		if err != nil {
			if fault := core.FaultOf(err); fault.Kind == core.Internal || len(fault.What) > 2048 {
				t.Errorf("%q: %s, %d bytes", text, fault.Kind, len(fault.What))
			}
			return
		}
		if again, err := core.ParseModelRef(string(ref)); again != ref || err != nil {
			t.Errorf("%q became %q, and that %q, %v", text, ref, again, err)
		}
		path, isFile := ref.Path()
		h, isHub := ref.Hub()
		switch {
		case isFile && (!filepath.IsAbs(path) || path != filepath.Clean(path)):
			t.Errorf("%q became the path %q", text, path)
		case isHub && (h.Ref() != ref || len(ref) > 512 || strings.Contains(string(ref), "..")):
			t.Errorf("%q became %q, %+v", text, ref, h)
		case !isFile && !isHub && ref != core.Embedded:
			t.Errorf("%q became %q", text, ref)
		}
	})
}
