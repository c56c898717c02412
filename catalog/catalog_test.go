package catalog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"rbee/core"
)

const sample = "../inference/model/testdata/llama.gguf"

func options(t *testing.T) Options {
	home := t.TempDir()
	return Options{
		File: filepath.Join(home, ".rbee", "models.db"), Models: filepath.Join(home, "models"), State: filepath.Join(home, "state"),
		Log: slog.New(slog.DiscardHandler),
	}
}

func opened(t *testing.T, o Options) *Catalog {
	t.Helper()
	c, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func copyOf(t *testing.T, dir string) (path string, content []byte) {
	t.Helper()
	content, err := os.ReadFile(sample)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "m.gguf")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, content
}

func hashOf(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

func TestImport(t *testing.T) {
	o := options(t)
	c := opened(t, o)
	path, content := copyOf(t, t.TempDir())
	m, err := c.Import(t.Context(), path)
	if err != nil || m.Architecture != "llama" || m.Size != int64(len(content)) || m.Parameters == 0 || m.SHA256 != "" {
		t.Fatalf("Import: %+v, %v", m, err)
	}
	if m, err := c.Hash(t.Context(), m); err != nil || m.SHA256 != hashOf(content) {
		t.Errorf("Hash: %+v, %v", m, err)
	}
	again, err := c.Import(t.Context(), path)
	if err != nil || again.SHA256 != hashOf(content) {
		t.Errorf("a second import lost the hash: %+v, %v", again, err)
	}
	if err := c.Used(t.Context(), m.Ref); err != nil {
		t.Error(err)
	}
	if files, _ := os.ReadDir(filepath.Dir(o.File)); len(files) != 1 {
		t.Errorf("beside the catalog: %v", files)
	}
	// Another content under the same path is another model.
	if err := os.WriteFile(path, append(content, 0), 0o600); err != nil {
		t.Fatal(err)
	}
	if m, err := c.Find(t.Context(), m.Ref); err != nil || m.SHA256 != "" || m.Size != int64(len(content))+1 {
		t.Errorf("a changed file: %+v, %v", m, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if all, err := c.List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("List with a file that is gone: %v, %v", all, err)
	}
	if _, err := c.Find(t.Context(), m.Ref); !errors.Is(err, core.ModelNotFound) {
		t.Errorf("Find of a file that is gone: %v", err)
	}
}

func TestImportRefuses(t *testing.T) {
	c := opened(t, options(t))
	text := filepath.Join(t.TempDir(), "text.gguf")
	if err := os.WriteFile(text, []byte("Once upon a time, a text was no model."), 0o600); err != nil {
		t.Fatal(err)
	}
	_, content := copyOf(t, t.TempDir())
	cut := filepath.Join(t.TempDir(), "cut.gguf")
	if err := os.WriteFile(cut, content[:len(content)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]core.Kind{text: core.Invalid, cut: core.Invalid, "/nowhere.gguf": core.ModelNotFound, "relative.gguf": core.Invalid, t.TempDir(): core.Invalid} {
		if _, err := c.Import(t.Context(), path); !errors.Is(err, want) || !strings.Contains(err.Error(), filepath.Base(path)) {
			t.Errorf("%s: got %v, want %s", path, err, want)
		}
	}
}

func TestPutBlob(t *testing.T) {
	o := options(t)
	c := opened(t, o)
	_, content := copyOf(t, t.TempDir())
	m, err := c.PutBlob(t.Context(), hashOf(content), "file:/elsewhere/m.gguf", int64(len(content)), bytes.NewReader(content))
	if err != nil || m.SHA256 != hashOf(content) {
		t.Fatalf("PutBlob: %+v, %v", m, err)
	}
	if got, err := c.ByHash(t.Context(), m.SHA256); err != nil || got.Path != m.Path {
		t.Errorf("ByHash: %+v, %v", got, err)
	}
	text := []byte("a text, and no model at all")
	for name, put := range map[string]func() error{
		"no model": func() error {
			_, err := c.PutBlob(t.Context(), hashOf(text), "file:/x/text.gguf", -1, bytes.NewReader(text))
			if !errors.Is(err, core.Invalid) || !strings.Contains(err.Error(), "/x/text.gguf") {
				t.Errorf("no model: %v", err)
			}
			return err
		},
		"other content": func() error {
			_, err := c.PutBlob(t.Context(), strings.Repeat("a", 64), "file:/x", -1, bytes.NewReader(content))
			return err
		},
		"no hash": func() error { _, err := c.PutBlob(t.Context(), "../../etc", "file:/x", -1, nil); return err },
		"broken off": func() error {
			_, err := c.PutBlob(t.Context(), hashOf(content), "file:/x", -1, io.MultiReader(bytes.NewReader(content[:9]), broken9{}))
			return err
		},
		"no room": func() error {
			_, err := c.PutBlob(t.Context(), hashOf(content), "file:/x", 1<<60, bytes.NewReader(content))
			if !errors.Is(err, core.InsufficientDisk) {
				t.Errorf("no room: %v", err)
			}
			return err
		},
	} {
		if put() == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if files, _ := os.ReadDir(o.Models); len(files) != 2 { // and its sidecar
		t.Errorf("left behind: %v", files)
	}
	if err := c.Remove(t.Context(), m.Ref); err != nil {
		t.Error(err)
	}
	if files, _ := os.ReadDir(o.Models); len(files) != 0 {
		t.Errorf("our copy was not removed: %v", files)
	}
}

type broken9 struct{}

func (broken9) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// Many at once on an empty home: one migrates, all work.
func TestManyAtOnce(t *testing.T) {
	o := options(t)
	path, _ := copyOf(t, t.TempDir())
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			c, err := Open(context.WithoutCancel(t.Context()), o)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			if _, err := c.Import(t.Context(), path); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if files, _ := os.ReadDir(filepath.Dir(o.File)); len(files) != 1 {
		t.Errorf("beside the catalog: %v", files)
	}
}

// A broken catalog is put aside and made anew.
func TestBroken(t *testing.T) {
	o := options(t)
	if err := os.MkdirAll(filepath.Dir(o.File), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(o.File, bytes.Repeat([]byte("no database "), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	c := opened(t, o)
	if all, err := c.List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("List: %v, %v", all, err)
	}
	if aside, _ := filepath.Glob(filepath.Join(o.State, "models.db.corrupt.*")); len(aside) != 1 {
		t.Errorf("the broken file is not aside: %v", aside)
	}
}

// What was copied here is found again when the catalog is made anew, and what was
// left by a crash goes.
func TestRebuild(t *testing.T) {
	o := options(t)
	_, content := copyOf(t, t.TempDir())
	c := opened(t, o)
	m, err := c.PutBlob(t.Context(), hashOf(content), "file:/elsewhere/m.gguf", -1, bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	old, fresh := filepath.Join(o.Models, "a.copying"), filepath.Join(o.Models, "b.copying")
	for _, name := range []string{old, fresh} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-2 * staleCopy)
	err = errors.Join(os.Chtimes(old, long, long), os.WriteFile(o.File, bytes.Repeat([]byte("garbage"), 1000), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	c = opened(t, o)
	all, err := c.List(t.Context())
	if err != nil || len(all) != 1 || all[0].Path != m.Path || all[0].SHA256 != "" || all[0].Source != Copied {
		t.Errorf("List: %+v, %v", all, err)
	}
	if got, err := c.Find(t.Context(), m.Ref); err != nil || got.SHA256 != m.SHA256 {
		t.Errorf("Find: %+v, %v, want the hash %s", got, err, m.SHA256)
	}
	if parts, _ := filepath.Glob(filepath.Join(o.Models, "*.copying")); len(parts) != 1 || parts[0] != fresh {
		t.Errorf("unfinished copies: %v", parts)
	}
}

// Many at once on a broken catalog: one puts it aside, all see what it holds then.
func TestBrokenForMany(t *testing.T) {
	o := options(t)
	if err := errors.Join(os.MkdirAll(filepath.Dir(o.File), 0o700), os.WriteFile(o.File, bytes.Repeat([]byte("garbage"), 1000), 0o600)); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			c, err := Open(context.WithoutCancel(t.Context()), o)
			if err != nil {
				t.Error(err)
				return
			}
			c.Close()
		})
	}
	all.Wait()
	if aside, _ := filepath.Glob(filepath.Join(o.State, "models.db.corrupt.*")); len(aside) != 1 {
		t.Errorf("put aside: %v", aside)
	}
}

// A hash that was broken off goes on where it was.
func TestHashGoesOn(t *testing.T) {
	c := opened(t, options(t))
	path, content := copyOf(t, t.TempDir())
	m, err := c.Import(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	half := sha256.New()
	half.Write(content[:1000])
	if err := c.keepHash(t.Context(), m, 0, half, 1000); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Hash(ctx, m); err == nil {
		t.Error("a hash without a context to live in")
	}
	if _, at, err := c.hashSoFar(t.Context(), m, 0); err != nil || at != 1000 {
		t.Errorf("so far: %d bytes, %v", at, err)
	}
	if got, err := c.Hash(t.Context(), m); err != nil || got.SHA256 != hashOf(content) {
		t.Errorf("got %s, %v, want %s", got.SHA256, err, hashOf(content))
	}
}
