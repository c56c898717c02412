package catalog

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"rbee/catalog/modeltest"
	"rbee/core"
)

// fetched puts a model into the models directory as a download does, and returns what
// is to be registered.
func fetched(t *testing.T, o Options, ref core.ModelRef, contents ...[]byte) Addition {
	t.Helper()
	a := Addition{Ref: ref, Source: Fetched, Revision: "c0ffee0000000000000000000000000000000000"}
	key := modeltest.Hash(contents[0])
	for i, content := range contents {
		f := File{Name: "m.gguf", Path: filepath.Join(o.Models, key+".gguf"), SHA256: modeltest.Hash(content)}
		if len(contents) > 1 {
			f.Name = modeltest.PartName("m", i, len(contents))
			f.Path = filepath.Join(o.Models, key+".parts", f.Name)
		}
		modeltest.Write(t, f.Path, content)
		a.Files = append(a.Files, f)
	}
	return a
}

func add(t *testing.T, c *Catalog, a Addition) Model {
	t.Helper()
	m, err := c.AddFetched(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestFetched(t *testing.T) {
	parts := modeltest.Parts("llama", 1, 64, 3)
	for name, contents := range map[string][][]byte{"one file": {modeltest.GGUF("llama", 1, 64)}, "parts": parts} {
		t.Run(name, func(t *testing.T) {
			o := options(t)
			c := opened(t, o)
			a := fetched(t, o, "hf:org/repo:Q8_0", contents...)
			m := add(t, c, a)
			var size int64
			for _, content := range contents {
				size += int64(len(content))
			}
			if m.Size != size || m.Path != a.Files[0].Path || len(m.Files) != len(contents) || m.Quantization != "Q8_0" || m.SHA256 == "" || !m.Own() {
				t.Errorf("registered as %+v, want %d files of %d bytes", m, len(contents), size)
			}
			for i, content := range contents {
				f, err := c.ByHash(t.Context(), modeltest.Hash(content))
				if err != nil || f.Path != a.Files[i].Path || f.Size != int64(len(content)) {
					t.Errorf("ByHash of part %d: %+v, %v", i, f, err)
				}
			}
			if got, err := c.Find(t.Context(), a.Ref); err != nil || got.Revision != a.Revision || got.AddedAt.IsZero() {
				t.Errorf("Find: %+v, %v", got, err)
			}
			if err := c.Remove(t.Context(), a.Ref); err != nil {
				t.Error(err)
			}
			if left := names(t, o.Models); len(left) != 0 {
				t.Errorf("left after Remove: %q", left)
			}
		})
	}
}

func TestFetchedRefuses(t *testing.T) {
	o := options(t)
	c := opened(t, o)
	good := fetched(t, o, "hf:org/repo:Q8_0", modeltest.GGUF("llama", 1, 64))
	for name, spoil := range map[string]func(*Addition){
		"no files":        func(a *Addition) { a.Files = nil },
		"no hash":         func(a *Addition) { a.Files[0].SHA256 = "" },
		"elsewhere":       func(a *Addition) { a.Files[0].Path = "/tmp/m.gguf" },
		"another's hash":  func(a *Addition) { a.Files[0].SHA256 = modeltest.Hash(nil) },
		"directory above": func(a *Addition) { a.Files[0].Name = "../m.gguf" },
		"gone":            func(a *Addition) { _ = os.Remove(a.Files[0].Path) },
	} {
		a := good
		a.Files = slices.Clone(good.Files)
		spoil(&a)
		if m, err := c.AddFetched(t.Context(), a); err == nil {
			t.Errorf("%s: registered as %+v", name, m)
		}
	}
	if all, err := c.List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("List: %v, %v", all, err)
	}
}

// What comes and is no model is refused, and does not take room for ever.
func TestFetchedNoModel(t *testing.T) {
	o := options(t)
	c := opened(t, o)
	whole := modeltest.GGUF("llama", 1, 64)
	if m, err := c.AddFetched(t.Context(), fetched(t, o, "hf:org/repo:Q8_0", whole[:len(whole)/2])); !errors.Is(err, core.Invalid) {
		t.Errorf("got %+v, %v", m, err)
	}
	if left := names(t, o.Models); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
}

// On a disk that is full to its last byte a model can be removed, and what cannot be
// registered is said.
func TestFullDisk(t *testing.T) {
	o := options(t)
	dir := filepath.Dir(o.Models)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("no disk of its own for this test: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	c, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	m := add(t, c, fetched(t, o, "hf:org/repo:Q8_0", append(modeltest.GGUF("llama", 1, 64), make([]byte, 1<<20)...)))
	late := fetched(t, o, "hf:org/late:Q8_0", modeltest.GGUF("llama", 2, 64))
	if err := os.WriteFile(filepath.Join(dir, "filler"), make([]byte, 8<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	if _, err := c.AddFetched(t.Context(), late); !errors.Is(err, core.InsufficientDisk) || core.FaultOf(err).Try == "" {
		t.Errorf("a model registered on a full disk: %v", err)
	}
	if err := c.Remove(t.Context(), m.Ref); err != nil {
		t.Errorf("Remove: %v", err)
	}
	if all, err := c.List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("List: %v, %v", all, err)
	}
	if _, err := os.Stat(m.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its file is still there: %v", err)
	}
}

// Two references of one file: it stays until both have gone.
func TestSharedFile(t *testing.T) {
	o := options(t)
	c := opened(t, o)
	content := modeltest.GGUF("llama", 1, 64)
	one := add(t, c, fetched(t, o, "hf:org/one:Q8_0", content))
	two := add(t, c, fetched(t, o, "hf:org/two:Q8_0", content))
	if err := c.Remove(t.Context(), one.Ref); err != nil {
		t.Fatal(err)
	}
	if m, err := c.Find(t.Context(), two.Ref); err != nil || m.Path != one.Path {
		t.Errorf("the other reference: %+v, %v", m, err)
	}
	if err := c.Remove(t.Context(), two.Ref); err != nil {
		t.Fatal(err)
	}
	if left := names(t, o.Models); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
}

// A newer revision under the same reference takes the place of the older one, and
// keeps its pin and its uses.
func TestNewerRevision(t *testing.T) {
	o := options(t)
	c := opened(t, o)
	old := add(t, c, fetched(t, o, "hf:org/repo:Q8_0", modeltest.GGUF("llama", 1, 64)))
	if err := errors.Join(c.Pin(t.Context(), old.Ref, true), c.Used(t.Context(), old.Ref)); err != nil {
		t.Fatal(err)
	}
	m := add(t, c, fetched(t, o, old.Ref, modeltest.GGUF("llama", 2, 64)))
	if m.Path == old.Path || !m.Pinned || m.Uses != 1 {
		t.Errorf("the newer one: %+v", m)
	}
	if left := names(t, o.Models); len(left) != 2 {
		t.Errorf("in the directory: %q, want a file and its sidecar", left)
	}
}

func TestFindHub(t *testing.T) {
	o := options(t)
	c := opened(t, o)
	for i, ref := range []core.ModelRef{"hf:org/repo:Q8_0", "hf:org/repo:Q5_K_M", "hf:org/repo@v2:Q4_K_M", "hf:org/repo:sub/m.gguf", "hf:org/other:IQ2_XS"} {
		add(t, c, fetched(t, o, ref, modeltest.GGUF("llama", byte(i), 64)))
	}
	order := []string{"Q4_K_M", "Q5_K_M", "Q8_0"}
	tests := map[string]struct {
		asked core.Hub
		want  core.ModelRef // empty: none
	}{
		"first of the order":           {core.Hub{Repo: "org/repo"}, "hf:org/repo:Q5_K_M"},
		"case of the repository":       {core.Hub{Repo: "Org/Repo"}, "hf:org/repo:Q5_K_M"},
		"a quantization":               {core.Hub{Repo: "org/repo", Tag: "Q8_0"}, "hf:org/repo:Q8_0"},
		"a quantization that is not":   {core.Hub{Repo: "org/repo", Tag: "Q6_K"}, ""},
		"a revision":                   {core.Hub{Repo: "org/repo", Revision: "v2"}, "hf:org/repo@v2:Q4_K_M"},
		"a commit":                     {core.Hub{Repo: "org/repo", Revision: "c0ffee0", Tag: "Q8_0"}, "hf:org/repo:Q8_0"},
		"another commit":               {core.Hub{Repo: "org/repo", Revision: "c0ffee1", Tag: "Q8_0"}, ""},
		"a file":                       {core.Hub{Repo: "org/repo", Tag: "sub/m.gguf"}, "hf:org/repo:sub/m.gguf"},
		"a file of another directory":  {core.Hub{Repo: "org/repo", Tag: "m.gguf"}, ""},
		"none of the order":            {core.Hub{Repo: "org/other"}, ""},
		"a repository that is not":     {core.Hub{Repo: "org/none"}, ""},
		"only part of a name":          {core.Hub{Repo: "org/rep"}, ""},
		"a revision that was not said": {core.Hub{Repo: "org/repo", Tag: "Q4_K_M"}, ""},
	}
	for name, tt := range tests {
		m, err := c.FindHub(t.Context(), tt.asked, order)
		if m.Ref != tt.want || (tt.want == "") != errors.Is(err, core.ModelNotFound) {
			t.Errorf("%s: got %q, %v, want %q", name, m.Ref, err, tt.want)
		}
	}
	// The first choice has gone: the next one is taken.
	m, _ := c.Find(t.Context(), "hf:org/repo:Q5_K_M")
	if err := os.Remove(m.Path); err != nil {
		t.Fatal(err)
	}
	if m, err := c.FindHub(t.Context(), core.Hub{Repo: "org/repo"}, order); err != nil || m.Ref != "hf:org/repo:Q8_0" {
		t.Errorf("after the first has gone: %q, %v", m.Ref, err)
	}
}

// A model in parts is imported by its first part, all of it.
func TestImportParts(t *testing.T) {
	c := opened(t, options(t))
	dir := t.TempDir()
	parts := modeltest.Parts("llama", 1, 64, 3)
	for i, content := range parts {
		modeltest.Write(t, filepath.Join(dir, modeltest.PartName("m", i, 3)), content)
	}
	first := filepath.Join(dir, modeltest.PartName("m", 0, 3))
	if m, err := c.Import(t.Context(), filepath.Join(dir, modeltest.PartName("m", 1, 3))); !errors.Is(err, core.Invalid) || !strings.Contains(err.Error(), first) {
		t.Errorf("Import of the second part: %+v, %v, want an error that names %s", m, err, first)
	}
	m, err := c.Import(t.Context(), first)
	if err != nil || len(m.Files) != 3 || m.Path != first || m.Size != int64(3*len(parts[0])) || m.SHA256 != "" {
		t.Fatalf("Import: %+v, %v", m, err)
	}
	if m, err = c.Hash(t.Context(), m); err != nil || m.SHA256 == "" || m.Files[2].SHA256 != modeltest.Hash(parts[2]) {
		t.Errorf("Hash: %+v, %v", m, err)
	}
	if f, err := c.ByHash(t.Context(), modeltest.Hash(parts[1])); err != nil || filepath.Base(f.Path) != modeltest.PartName("m", 1, 3) {
		t.Errorf("ByHash of the second part: %+v, %v", f, err)
	}
	if err := c.Remove(t.Context(), m.Ref); err != nil || len(names(t, dir)) != 3 {
		t.Errorf("Remove: %v, and the files in place are %q", err, names(t, dir))
	}
	if err := os.Remove(m.Files[1].Path); err != nil {
		t.Fatal(err)
	}
	if m, err := c.Import(t.Context(), first); !errors.Is(err, core.ModelNotFound) {
		t.Errorf("Import without a part: %+v, %v", m, err)
	}
}

// What another program has is used in place: its promise becomes a hash once the file
// was read, and a broken promise is an error until the file is another one.
func TestInPlace(t *testing.T) {
	c := opened(t, options(t))
	content := modeltest.GGUF("llama", 1, 64)
	path := filepath.Join(t.TempDir(), "blob")
	modeltest.Write(t, path, content)
	a := Addition{Ref: "hf:org/repo:Q8_0", Source: HuggingFace, Revision: "abc", Files: []File{{Name: "m.gguf", Path: path, Promised: modeltest.Hash(content)}}}
	m, err := c.AddInPlace(t.Context(), a)
	if err != nil || m.SHA256 != "" || m.Own() {
		t.Fatalf("AddInPlace: %+v, %v", m, err)
	}
	if m, err = c.Hash(t.Context(), m); err != nil || m.SHA256 != modeltest.Hash(content) {
		t.Errorf("Hash: %+v, %v", m, err)
	}
	if m, err = c.AddInPlace(t.Context(), a); err != nil || m.SHA256 == "" {
		t.Errorf("a second AddInPlace lost the hash: %+v, %v", m, err)
	}
	rot(t, path)
	if v, err := c.Verify(t.Context(), a.Ref, nil); err != nil || len(v.Wrong) != 1 || v.Wrong[0].Aside != "" {
		t.Errorf("Verify: %+v, %v", v, err)
	}
	for name, find := range map[string]func() (Model, error){
		"Find":       func() (Model, error) { return c.Find(t.Context(), a.Ref) },
		"AddInPlace": func() (Model, error) { return c.AddInPlace(t.Context(), a) },
	} {
		if m, err := find(); !errors.Is(err, core.Invalid) {
			t.Errorf("%s of a wrong file: %+v, %v", name, m, err)
		}
	}
	if m, err := c.FindHub(t.Context(), core.Hub{Repo: "org/repo", Tag: "Q8_0"}, nil); !errors.Is(err, core.ModelNotFound) {
		t.Errorf("FindHub gives a wrong file: %+v, %v", m, err)
	}
	if f, err := c.ByHash(t.Context(), modeltest.Hash(content)); err == nil {
		t.Errorf("ByHash gives a wrong file: %+v", f)
	}
	later := time.Now().Add(time.Minute)
	if err := errors.Join(os.WriteFile(path, content, 0o600), os.Chtimes(path, later, later)); err != nil {
		t.Fatal(err)
	}
	if m, err := c.Find(t.Context(), a.Ref); err != nil || m.Wrong != "" {
		t.Errorf("Find of a file that was replaced: %+v, %v", m, err)
	}
}

// rot changes one byte of a file, and the disk does not say so.
func rot(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	if err := errors.Join(os.WriteFile(path, b, 0o600), os.Chtimes(path, info.ModTime(), info.ModTime())); err != nil {
		t.Fatal(err)
	}
}
