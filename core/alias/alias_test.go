package alias_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rbee/core"
	"rbee/core/alias"
)

// load is the table with a user's file of that text; "" is no file.
func load(t *testing.T, text string) (*alias.Table, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "aliases.toml")
	if text != "" {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return alias.Load(path)
}

func TestResolve(t *testing.T) {
	table, err := load(t, `
[[model]]
names = ["Mine", "mine:8b"]
ref = "org/repo:q8_0"

[[model]]
names = ["llama3.2", "here"]
ref = "/models/m.gguf"
`)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		want core.ModelRef
		kind core.Kind
		says string
	}{
		"tinyllama":          {want: "hf:TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF"},
		"TinyLlama":          {want: "hf:TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF"},
		"tinyllama:latest":   {want: "hf:TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF"},
		"gemma3":             {want: "hf:ggml-org/gemma-3-4b-it-GGUF"},
		"gemma3:270m":        {want: "hf:unsloth/gemma-3-270m-it-GGUF"},
		"mine":               {want: "hf:org/repo:Q8_0"},
		"mine:8b":            {want: "hf:org/repo:Q8_0"},
		"here":               {want: "file:/models/m.gguf"},
		"llama3.2":           {want: "file:/models/m.gguf"},
		"llama3.2:3b":        {want: "hf:bartowski/Llama-3.2-3B-Instruct-GGUF"},
		"org/repo:q4_k_m":    {want: "hf:org/repo:Q4_K_M"},
		"hf.co/org/repo":     {want: "hf:org/repo"},
		"":                   {want: core.Embedded},
		"embedded":           {want: core.Embedded},
		"/a/b.gguf":          {want: "file:/a/b.gguf"},
		"tinylama":           {kind: core.ModelNotFound, says: "nearest: tinyllama"},
		"gemma3:2b":          {kind: core.ModelNotFound, says: "nearest: gemma3:1b gemma3:4b"},
		"qwen3:7b":           {kind: core.ModelNotFound, says: "give qwen3:4b"},
		"xyzzy-of-no-family": {kind: core.ModelNotFound, says: "xyzzy-of-no-family is not known\ngive org/repo of"},
		"a b":                {kind: core.Invalid},
		"m.gguf":             {kind: core.ModelNotFound, says: "model file m.gguf is not there"},
	}
	for text, tt := range tests {
		t.Run(text, func(t *testing.T) {
			got, err := table.Resolve(text)
			if got != tt.want || tt.kind != "" && !errors.Is(err, tt.kind) || tt.kind == "" && err != nil {
				t.Fatalf("got %q, %v; want %q %s", got, err, tt.want, tt.kind)
			}
			if tt.kind == "" {
				return
			}
			f := core.FaultOf(err)
			said := f.What + "\n"
			for _, fact := range f.Facts {
				said += fact.Name + ": " + fact.Value + "\n"
			}
			if said += f.Try; !strings.Contains(said, tt.says) {
				t.Errorf("it does not say %q:\n%s", tt.says, said)
			}
		})
	}
}

func TestBrokenFile(t *testing.T) {
	tests := map[string]struct{ text, says string }{
		"syntax":                 {"\n[[model]\n", "line 2"},
		"unknown key":            {"[[model]]\nnames = ['a']\nref = 'o/r'\ntag = 'x'\n", `line 4: unknown key "model.tag"`},
		"no name":                {"[[model]]\nnames = ['a/b']\nref = 'o/r'\n", `line 2: `},
		"the program's own name": {"[[model]]\nnames = ['embedded']\nref = 'o/r'\n", `"embedded" is no short name`},
		"no reference":           {"[[model]]\nnames = ['a']\n\nref = 'o r'\n", `line 4: `},
		"a short name":           {"[[model]]\nnames = ['a']\nref = 'tinyllama'\n", `line 3: `},
		"nothing":                {"[[model]]\nnames = []\nref = 'o/r'\n", "model 1 of the file: want names and ref"},
		"without a ref":          {"[[model]]\nnames = ['a']\n", "model 1 of the file: want names and ref"},
		"twice":                  {"[[model]]\nnames = ['a:1']\nref = 'o/r'\n[[model]]\nnames = ['A:1']\nref = 'o/s'\n", `line 5: "a:1" stands there twice`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, tt.text)
			if !errors.Is(err, core.Invalid) || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), "aliases.toml: ") {
				t.Errorf("got %v, want an invalid request that says %q", err, tt.says)
			}
		})
	}
	if _, err := alias.Load(t.TempDir()); !errors.Is(err, core.Invalid) {
		t.Errorf("a directory: got %v", err)
	}
}

// Every model of the program's table is a repository without a quantization, has the
// page where it was seen, and names of its own.
func TestTable(t *testing.T) {
	table, err := alias.Load("")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(table.All()); n < 60 {
		t.Errorf("%d models, want 60 and more", n)
	}
	names, refs := map[string]bool{}, map[core.ModelRef]bool{}
	for _, a := range table.All() {
		if h, ok := a.Ref.Hub(); !ok || h.Tag != "" || h.Revision != "" || !strings.Contains(strings.ToLower(h.Repo), "gguf") || refs[a.Ref] {
			t.Errorf("%q stand for %s", a.Names, a.Ref)
		}
		if !strings.HasPrefix(a.Seen, "https://") {
			t.Errorf("%q: seen on %q", a.Names, a.Seen)
		}
		refs[a.Ref] = true
		for _, n := range a.Names {
			if names[n] || n != strings.ToLower(n) {
				t.Errorf("%q", n)
			}
			names[n] = true
			if ref, err := table.Resolve(n); err != nil || ref != a.Ref {
				t.Errorf("%s: got %s, %v; want %s", n, ref, err, a.Ref)
			}
		}
	}
}

// The user's models come first in the list, and a name that is theirs is only theirs.
func TestAll(t *testing.T) {
	table, err := load(t, "[[model]]\nnames = ['tinyllama']\nref = 'o/r'\n")
	if err != nil {
		t.Fatal(err)
	}
	all := table.All()
	if all[0].Ref != "hf:o/r" || all[0].Seen != "" {
		t.Errorf("the first is %+v", all[0])
	}
	for _, a := range all[1:] {
		for _, n := range a.Names {
			if n == "tinyllama" {
				t.Errorf("%s has it, too", a.Ref)
			}
		}
	}
}

// Whatever stands in a user's file: it is refused, or its names stand for references
// in full.
func FuzzFile(f *testing.F) {
	f.Add("[[model]]\nnames = ['a', 'b:1']\nref = 'hf:o/r:Q4_0'\n")
	f.Add("model = 3")
	path := filepath.Join(f.TempDir(), "aliases.toml")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		table, err := alias.Load(path)
		if err != nil {
			return
		}
		for _, a := range table.All() {
			if again, err := core.ParseModelRef(string(a.Ref)); again != a.Ref || err != nil {
				t.Errorf("%q stand for %s: %v", a.Names, a.Ref, err)
			}
		}
	})
}
