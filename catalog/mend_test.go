package catalog

import (
	"database/sql"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rbee/catalog/modeltest"
	"rbee/core"
)

// reopened closes the catalog, spoils the home, and opens it again.
func reopened(t *testing.T, c *Catalog, o Options, spoil func()) *Catalog {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	spoil()
	return opened(t, o)
}

// A catalog that is lost is made anew with all that was known of our own copies; what
// is not what its name says is put aside and not found.
func TestRebuildFromSidecars(t *testing.T) {
	o := options(t)
	c := opened(t, o)
	sound := add(t, c, fetched(t, o, "hf:org/parts:Q8_0", modeltest.Parts("llama", 1, 64, 2)...))
	shared := add(t, c, fetched(t, o, "hf:org/one:Q8_0", modeltest.GGUF("llama", 2, 64)))
	add(t, c, fetched(t, o, "hf:org/two:Q8_0", modeltest.GGUF("llama", 2, 64)))
	damaged := add(t, c, fetched(t, o, "hf:org/damaged:Q8_0", modeltest.GGUF("llama", 3, 64)))
	spoiled := add(t, c, fetched(t, o, "hf:org/spoiled:Q8_0", modeltest.GGUF("llama", 4, 64)))
	if err := c.Pin(t.Context(), shared.Ref, true); err != nil {
		t.Fatal(err)
	}
	c = reopened(t, c, o, func() {
		modeltest.Write(t, o.File, []byte(strings.Repeat("garbage", 1000)))
		rot(t, damaged.Path)
		modeltest.Write(t, filepath.Join(o.Models, spoiled.key()+sidecarSuffix), []byte("{"))
	})
	m, err := c.Find(t.Context(), sound.Ref)
	if err != nil || m.Revision != sound.Revision || m.Source != Fetched || m.SHA256 != sound.SHA256 || !m.AddedAt.Equal(sound.AddedAt) || m.Files[1].Name != sound.Files[1].Name {
		t.Errorf("a model in parts: got %+v, %v, want %+v", m, err, sound)
	}
	if m, err := c.Find(t.Context(), shared.Ref); err != nil || !m.Pinned {
		t.Errorf("a pinned model: %+v, %v", m, err)
	}
	if m, err := one(t.Context(), c.db, "hf:org/two:Q8_0"); err != nil || m.SHA256 != shared.SHA256 {
		t.Errorf("a second model of a file that was hashed: %+v, %v", m, err)
	}
	if m, err := c.Find(t.Context(), "hf:org/two:Q8_0"); err != nil || m.Pinned {
		t.Errorf("a second model of the file: %+v, %v", m, err)
	}
	if m, err := c.Find(t.Context(), damaged.Ref); !errors.Is(err, core.ModelNotFound) {
		t.Errorf("a damaged file: %+v, %v", m, err)
	}
	if _, err := os.Stat(damaged.Path + wrongSuffix); err != nil {
		t.Errorf("the damaged file is not aside: %v", err)
	}
	if m, err := c.Find(t.Context(), core.ModelRef("file:"+spoiled.Path)); err != nil || m.SHA256 != spoiled.SHA256 {
		t.Errorf("a file without a sidecar goes by its path: %+v, %v", m, err)
	}
	if all, err := c.List(t.Context()); err != nil || len(all) != 4 {
		t.Errorf("List: %+v, %v", all, err)
	}
	if aside, _ := filepath.Glob(filepath.Join(o.State, "models.db.corrupt.*")); len(aside) != 1 {
		t.Errorf("the old file is not aside: %v", aside)
	}
}

// What a crash can leave between sidecar, rows and files is put right by Open.
func TestMend(t *testing.T) {
	row := func(t *testing.T, o Options, statement string) {
		t.Helper()
		db, err := sql.Open("sqlite3", "file:"+(&url.URL{Path: o.File}).EscapedPath()+"?_foreign_keys=on")
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	const ref = "hf:org/repo:Q8_0"
	for name, tt := range map[string]struct {
		spoil           func(t *testing.T, o Options, m Model)
		found, describe bool
	}{
		"nothing":                     {func(*testing.T, Options, Model) {}, true, true},
		"a sidecar without rows":      {func(t *testing.T, o Options, _ Model) { row(t, o, "DELETE FROM models") }, true, true},
		"rows without a sidecar":      {func(_ *testing.T, o Options, m Model) { _ = os.Remove(filepath.Join(o.Models, m.key()+sidecarSuffix)) }, true, true},
		"rows without a file":         {func(_ *testing.T, _ Options, m Model) { _ = os.Remove(m.Path) }, false, false},
		"a sidecar without row, file": {func(t *testing.T, o Options, m Model) { row(t, o, "DELETE FROM models"); _ = os.Remove(m.Path) }, false, false},
		"a sidecar that is none": {func(t *testing.T, o Options, m Model) {
			modeltest.Write(t, filepath.Join(o.Models, m.key()+sidecarSuffix), nil)
		}, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t)
			c := opened(t, o)
			m := add(t, c, fetched(t, o, ref, modeltest.GGUF("llama", 1, 64)))
			c = reopened(t, c, o, func() { tt.spoil(t, o, m) })
			got, err := c.Find(t.Context(), ref)
			if tt.found != (err == nil) || err == nil && got.SHA256 != m.SHA256 {
				t.Errorf("Find: %+v, %v", got, err)
			}
			if _, err := os.Stat(filepath.Join(o.Models, m.key()+sidecarSuffix)); tt.describe != (err == nil) {
				t.Errorf("the sidecar: %v", err)
			}
		})
	}
}

// Our own copy that was touched is not believed, but read.
func TestTouched(t *testing.T) {
	o := options(t)
	c := opened(t, o)
	content := modeltest.GGUF("llama", 1, 64)
	m := add(t, c, fetched(t, o, "hf:org/repo:Q8_0", content))
	if err := os.Chtimes(m.Path, m.AddedAt, m.AddedAt); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Find(t.Context(), m.Ref); err != nil || got.SHA256 != m.SHA256 {
		t.Errorf("a touched copy: %+v, %v", got, err)
	}
	modeltest.Write(t, m.Path, content[:len(content)-1])
	if got, err := c.Find(t.Context(), m.Ref); !errors.Is(err, core.ModelNotFound) || !strings.Contains(err.Error(), m.Path+wrongSuffix) {
		t.Errorf("a copy that was cut: %+v, %v", got, err)
	}
}

// A catalog of an older version keeps what it holds.
func TestMigrate(t *testing.T) {
	o := options(t)
	content := modeltest.GGUF("llama", 1, 64)
	key := modeltest.Hash(content)
	ours, theirs := filepath.Join(o.Models, key+".gguf"), filepath.Join(t.TempDir(), "a b.gguf")
	for _, path := range []string{ours, theirs} {
		modeltest.Write(t, path, content)
	}
	older(t, o, ours, theirs, key)
	c := opened(t, o)
	m, err := c.Find(t.Context(), core.ModelRef("file:"+theirs))
	if err != nil || m.Source != Imported || m.SHA256 != key || m.Uses != 7 || m.UsedAt.Year() != 2026 || m.Files[0].Name != "a b.gguf" {
		t.Errorf("an imported file: %+v, %v", m, err)
	}
	m, err = c.Find(t.Context(), "file:/elsewhere/m.gguf")
	if err != nil || m.Source != Copied || m.SHA256 != key || m.Files[0].Promised != key || m.Files[0].Name != "m.gguf" {
		t.Errorf("a copy: %+v, %v", m, err)
	}
	if left := names(t, o.Models); !slices.Contains(left, key+sidecarSuffix) {
		t.Errorf("a copy has no sidecar: %q", left)
	}
}

// older makes the file of the version before models had files.
func older(t *testing.T, o Options, ours, theirs, key string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(o.File), 0o700); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite3", "file:"+(&url.URL{Path: o.File}).EscapedPath())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, name := range []string{"migrations/001_models.sql", "migrations/002_hash_so_far.sql"} {
		text, err := fs.ReadFile(migrations, name)
		if err == nil {
			_, err = db.ExecContext(t.Context(), string(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for ref, path := range map[string]string{"file:/elsewhere/m.gguf": ours, "file:" + theirs: theirs} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		source := map[bool]string{true: "copy", false: "import"}[path == ours]
		_, err = db.ExecContext(t.Context(), `INSERT INTO models (ref, path, size_bytes, modified_ns, sha256, architecture, quantization, parameters, source, added_at, used_at, uses)
			VALUES (?, ?, ?, ?, ?, 'llama', 'Q8_0', 64, ?, '2026-11-01T10:00:00Z', '2026-11-02T10:00:00Z', 7)`, ref, path, info.Size(), info.ModTime().UnixNano(), key, source)
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.ExecContext(t.Context(), "PRAGMA user_version = 2"); err != nil {
		t.Fatal(err)
	}
}

// A catalog of a newer version is refused, and left alone.
func TestNewer(t *testing.T) {
	o := options(t)
	c := opened(t, o)
	if _, err := c.db.ExecContext(t.Context(), "PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if c, err := Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "newer version") {
		t.Errorf("opened: %v, %v", c, err)
	}
	if aside, _ := filepath.Glob(filepath.Join(o.State, "models.db.corrupt.*")); len(aside) != 0 {
		t.Errorf("it was put aside: %v", aside)
	}
}

// Sidecars come from the disk, where others write too.
func FuzzSidecar(f *testing.F) {
	key := modeltest.Hash(nil)
	f.Add([]byte(`{"models":[{"model_ref":"hf:org/repo:Q8_0","source":"hub","files":[{"name":"m.gguf","sha256":"` + key + `"}]}]}`))
	f.Add([]byte(`{"models":[{"model_ref":"hf:org/repo","source":"copy","files":[{"name":"../m.gguf","sha256":"` + key + `"}]}]}`))
	f.Add([]byte(`{"models":[{"files":[]},{}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		o := options(t)
		c := &Catalog{o: o}
		modeltest.Write(t, filepath.Join(o.Models, key+sidecarSuffix), b)
		all, err := c.readSidecar(key)
		for _, d := range all {
			for _, file := range d.Files {
				path := c.ownPath(key, file.Name, len(d.Files))
				if rel, bad := filepath.Rel(o.Models, path); err == nil && (bad != nil || strings.HasPrefix(rel, "..")) {
					t.Errorf("%s leads to %s", b, path)
				}
			}
		}
	})
}

// What a process that was killed left beside the catalog goes.
func TestJournal(t *testing.T) {
	o := options(t)
	c := opened(t, o)
	c = reopened(t, c, o, func() { modeltest.Write(t, o.File+"-journal", make([]byte, 4096)) })
	if left := names(t, filepath.Dir(o.File)); !slices.Equal(left, []string{"models.db"}) {
		t.Errorf("beside the catalog: %q", left)
	}
	if _, err := c.List(t.Context()); err != nil {
		t.Error(err)
	}
}

// Of a file that is broken in one place, what can be read is kept.
func TestSalvage(t *testing.T) {
	o := options(t)
	c := opened(t, o)
	path, content := copyOf(t, t.TempDir())
	m, err := c.Import(t.Context(), path)
	if err == nil {
		err = c.Pin(t.Context(), m.Ref, true)
	}
	if err != nil {
		t.Fatal(err)
	}
	changed, _ := copyOf(t, t.TempDir())
	other, err := c.Import(t.Context(), changed)
	if err != nil {
		t.Fatal(err)
	}
	var root, size int64
	err = errors.Join(
		c.db.QueryRowContext(t.Context(), "SELECT rootpage FROM sqlite_schema WHERE name = 'files_by_path'").Scan(&root),
		c.db.QueryRowContext(t.Context(), "PRAGMA page_size").Scan(&size),
	)
	if err != nil {
		t.Fatal(err)
	}
	c = reopened(t, c, o, func() {
		f, err := os.OpenFile(o.File, os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteAt([]byte(strings.Repeat("garbage!", int(size)/8)), (root-1)*size)
			err = errors.Join(err, f.Close(), os.WriteFile(changed, append(content, 0), 0o600))
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	if aside, _ := filepath.Glob(filepath.Join(o.State, "models.db.corrupt.*")); len(aside) != 1 {
		t.Errorf("the old file is not aside: %v", aside)
	}
	if got, err := c.Find(t.Context(), m.Ref); err != nil || !got.Pinned || got.Source != Imported || got.SHA256 != "" {
		t.Errorf("an imported model: %+v, %v", got, err)
	}
	if got, err := c.Find(t.Context(), other.Ref); !errors.Is(err, core.ModelNotFound) {
		t.Errorf("an imported model whose file has changed: %+v, %v", got, err)
	}
}

// The directory of our own copies was moved, as a whole.
func TestMovedDirectory(t *testing.T) {
	o := options(t)
	c := opened(t, o)
	for i, contents := range [][][]byte{{modeltest.GGUF("llama", 1, 64)}, modeltest.Parts("llama", 2, 64, 2)} {
		add(t, c, fetched(t, o, core.ModelRef([]string{"hf:org/one:Q8_0", "hf:org/parts:Q8_0"}[i]), contents...))
	}
	moved := o
	moved.Models = filepath.Join(t.TempDir(), "elsewhere")
	c = reopened(t, c, moved, func() {
		if err := os.Rename(o.Models, moved.Models); err != nil {
			t.Fatal(err)
		}
	})
	for _, ref := range []core.ModelRef{"hf:org/one:Q8_0", "hf:org/parts:Q8_0"} {
		if m, err := c.Find(t.Context(), ref); err != nil || m.SHA256 == "" || !strings.HasPrefix(m.Path, moved.Models) {
			t.Errorf("%s: %+v, %v", ref, m, err)
		}
	}
}
