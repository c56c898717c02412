// Package alias knows what short names of models stand for, such as "tinyllama" or
// "gemma3:270m": those of a table inside the program, and those that the user has
// written into aliases.toml beside config.toml, which count more.
//
// The file has one part for each model:
//
//	[[model]]
//	names = ["mine", "mine:8b"]
//	ref   = "hf:org/repo:Q4_K_M"
//
// A quantization that is left out is chosen for the machine that runs the model.
package alias

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"rbee/core"
	"rbee/core/config"
)

// An Alias is one model and the short names that it has.
type Alias struct {
	Names []string
	Ref   core.ModelRef
	Seen  string // the page that names the repository; empty for the user's own
}

// A Table is all short names that are known. It does not change: its methods may be
// called at once.
type Table struct {
	all []Alias
	by  map[string]core.ModelRef
}

//go:embed aliases.toml
var ours []byte

// Load returns the table of the program with the user's file, which need not be
// there; an empty path is none.
func Load(path string) (*Table, error) {
	t := &Table{by: map[string]core.ModelRef{}}
	if path != "" {
		text, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fault(path, err)
		}
		if err := t.add(text); err != nil {
			return nil, fault(path, err)
		}
	}
	if err := t.add(ours); err != nil {
		return nil, fmt.Errorf("alias: the table of the program: %w", err)
	}
	return t, nil
}

func fault(path string, err error) error {
	return &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("%s: %v", path, err), Try: `write it as: [[model]] names = ["mine"] ref = "hf:org/repo"`, Cause: err}
}

// file is the form of aliases.toml.
type file struct {
	Model []struct {
		Names []name    `toml:"names"`
		Ref   reference `toml:"ref"`
		Seen  string    `toml:"seen"`
	} `toml:"model"`
}

// A name is a short name, in small letters. It is no string, so that the TOML library
// has it checked, and says in which line it stands.
type name struct{ text string }

func (n *name) UnmarshalText(b []byte) error {
	n.text = strings.ToLower(string(b))
	if !core.IsAlias(n.text) {
		return fmt.Errorf("%q is no short name, want letters, digits, dots and dashes, and at most one colon", b)
	}
	return nil
}

// A reference is one in full.
type reference struct{ ref core.ModelRef }

func (r *reference) UnmarshalText(b []byte) (err error) {
	r.ref, err = core.ParseModelRef(string(b))
	return err
}

// add puts in the names of a file, but for those that are there already.
func (t *Table) add(text []byte) error {
	var f file
	if err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(&f); err != nil {
		return config.Locate(err)
	}
	mine := map[name]bool{}
	for i, m := range f.Model {
		if m.Ref.ref == "" || len(m.Names) == 0 {
			return fmt.Errorf("model %d of the file: want names and ref", i+1)
		}
		a := Alias{Ref: m.Ref.ref, Seen: m.Seen}
		for _, n := range m.Names {
			if mine[n] {
				return fmt.Errorf("line %d: %q stands there twice", lineOf(text, n), n.text)
			}
			mine[n] = true
			if _, ok := t.by[n.text]; !ok {
				t.by[n.text] = a.Ref
				a.Names = append(a.Names, n.text)
			}
		}
		if len(a.Names) > 0 {
			t.all = append(t.all, a)
		}
	}
	return nil
}

// lineOf is the line where a name stands last.
func lineOf(text []byte, n name) int {
	at := max(bytes.LastIndex(bytes.ToLower(text), []byte(n.text)), 0)
	return 1 + bytes.Count(text[:at], []byte("\n"))
}

// All lists the models that have short names, the user's first.
func (t *Table) All() []Alias { return slices.Clone(t.all) }

// Resolve returns the reference in full that a text stands for: a short name, or
// whatever core.ParseModelRef takes.
func (t *Table) Resolve(text string) (core.ModelRef, error) {
	if !core.IsAlias(text) {
		return core.ParseModelRef(text)
	}
	low := strings.ToLower(text)
	if ref, ok := t.by[strings.TrimSuffix(low, ":latest")]; ok {
		return ref, nil
	}
	f := &core.Fault{
		Kind: core.ModelNotFound, What: fmt.Sprintf("model %s is not known", text),
		Try: "give org/repo of a repository at Hugging Face, or the path of a .gguf file",
	}
	if near := t.nearest(low); len(near) > 0 {
		f.Facts = []core.Fact{core.Text("nearest", strings.Join(near, " "))}
		f.Try = "give " + near[0] + ", org/repo of a repository at Hugging Face, or the path of a .gguf file"
	}
	return "", f
}

// nearest are a few names that may have been meant: those of the same family, else
// those that are spelled almost so.
func (t *Table) nearest(typed string) []string {
	const most = 3
	var all, same []string
	family, _, tagged := strings.Cut(typed, ":")
	for _, a := range t.all {
		all = append(all, a.Names...)
		for _, n := range a.Names {
			if of, _, ok := strings.Cut(n, ":"); tagged && ok && of == family {
				same = append(same, n)
			}
		}
	}
	if len(same) > 0 {
		all = same
	}
	return core.Nearest(typed, all, most)
}
