package catalog

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rbee/catalog/modeltest"
	"rbee/core"
)

func TestVerify(t *testing.T) {
	o := options(t)
	c := opened(t, o)
	parts := modeltest.Parts("llama", 1, 4096, 3)
	a := fetched(t, o, "hf:org/repo:Q8_0", parts...)
	m := add(t, c, a)
	var done, total int64
	v, err := c.Verify(t.Context(), a.Ref, func(d, all int64) { done, total = d, all })
	if err != nil || len(v.Wrong) != 0 || v.Model.SHA256 != m.SHA256 {
		t.Errorf("a sound model: %+v, %v", v, err)
	}
	if done != m.Size || total != m.Size {
		t.Errorf("progress ended at %d of %d, want %d", done, total, m.Size)
	}
	rot(t, a.Files[1].Path)
	v, err = c.Verify(t.Context(), a.Ref, nil)
	if err != nil || len(v.Wrong) != 1 || v.Wrong[0].File.Name != a.Files[1].Name || v.Wrong[0].Got == a.Files[1].SHA256 {
		t.Fatalf("a flipped bit: %+v, %v", v, err)
	}
	if _, err := os.Stat(v.Wrong[0].Aside); err != nil {
		t.Errorf("it is not aside: %v", err)
	}
	if _, err := c.Find(t.Context(), a.Ref); !errors.Is(err, core.ModelNotFound) {
		t.Errorf("Find of a damaged model: %v", err)
	}
	// Only this file has to come again.
	modeltest.Write(t, a.Files[1].Path, parts[1])
	if again := add(t, c, a); again.SHA256 != m.SHA256 {
		t.Errorf("fetched again: %+v", again)
	}
	found, err := c.GC(t.Context(), false)
	if err != nil || len(found) != 1 || found[0].Path != v.Wrong[0].Aside {
		t.Errorf("GC: %+v, %v, want what is aside", found, err)
	}
}

// A file of the user's that rots is found by what it was before.
func TestVerifyImported(t *testing.T) {
	c := opened(t, options(t))
	path, _ := copyOf(t, t.TempDir())
	m, err := c.Import(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := c.Verify(t.Context(), m.Ref, nil); err != nil || len(v.Wrong) != 0 || v.Model.SHA256 == "" {
		t.Fatalf("the first time: %+v, %v", v, err)
	}
	rot(t, path)
	for range 2 { // and not only the first time
		if v, err := c.Verify(t.Context(), m.Ref, nil); err != nil || len(v.Wrong) != 1 {
			t.Errorf("a flipped bit: %+v, %v", v, err)
		}
	}
	if all, err := c.List(t.Context()); err != nil || len(all) != 1 || all[0].Wrong == "" {
		t.Errorf("List: %+v, %v", all, err)
	}
	rot(t, path) // back
	if v, err := c.Verify(t.Context(), m.Ref, nil); err != nil || len(v.Wrong) != 0 || v.Model.Wrong != "" {
		t.Errorf("repaired: %+v, %v", v, err)
	}
	if _, err := c.Find(t.Context(), m.Ref); err != nil {
		t.Errorf("Find of a repaired file: %v", err)
	}
}

func TestVerifyEnds(t *testing.T) {
	o := options(t)
	c := opened(t, o)
	m := add(t, c, fetched(t, o, "hf:org/repo:Q8_0", modeltest.GGUF("llama", 1, 1<<20)))
	ctx, cancel := context.WithCancel(t.Context())
	_, err := c.Verify(ctx, m.Ref, func(int64, int64) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Verify without a caller: %v", err)
	}
}

// Another catalog stands for another hive of the same home.
func TestUse(t *testing.T) {
	o := options(t)
	c, other := opened(t, o), opened(t, o)
	a := fetched(t, o, "hf:org/repo:Q8_0", modeltest.GGUF("llama", 1, 64))
	add(t, c, a)
	m, release, err := c.Use(t.Context(), a.Ref)
	if err != nil || m.Path != a.Files[0].Path {
		t.Fatalf("Use: %+v, %v", m, err)
	}
	_, second, err := other.Use(t.Context(), a.Ref)
	if err != nil {
		t.Fatal(err)
	}
	second()
	for name, in := range map[string]*Catalog{"by the same": c, "by another": other} {
		if err := in.Remove(t.Context(), a.Ref); !errors.Is(err, core.WorkerBusy) {
			t.Errorf("removed %s while it is used: %v", name, err)
		}
	}
	if removed, err := other.Evict(t.Context(), Room{Free: 1}); !errors.Is(err, core.InsufficientDisk) {
		t.Errorf("evicted while it is used: %v, %v", removed, err)
	}
	release()
	if err := other.Remove(t.Context(), a.Ref); err != nil {
		t.Errorf("Remove after the use: %v", err)
	}
	if _, _, err := c.Use(t.Context(), a.Ref); !errors.Is(err, core.ModelNotFound) {
		t.Errorf("Use of what is removed: %v", err)
	}
}

// A process that was killed holds nothing.
func TestUseEndsWithTheProcess(t *testing.T) {
	o := options(t)
	c := opened(t, o)
	a := fetched(t, o, "hf:org/repo:Q8_0", modeltest.GGUF("llama", 1, 64))
	add(t, c, a)
	cmd, out := child(t, o, "use", string(a.Ref))
	if !out.Scan() || out.Text() != "used" {
		t.Fatalf("the other process said %q", out.Text())
	}
	if err := c.Remove(t.Context(), a.Ref); !errors.Is(err, core.WorkerBusy) {
		t.Errorf("removed while another process uses it: %v", err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if err := c.Remove(t.Context(), a.Ref); err != nil {
		t.Errorf("Remove after the process was killed: %v", err)
	}
}

// child runs one of the deeds of TestMain in a process of its own.
func child(t *testing.T, o Options, deed ...string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CATALOG_HOME="+filepath.Dir(o.Models), "CATALOG_DEED="+strings.Join(deed, " "))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd, bufio.NewScanner(out)
}

func TestEvict(t *testing.T) {
	one := int64(len(modeltest.GGUF("llama", 0, 64)))
	keep := func(ref core.ModelRef) bool { return ref == "hf:org/kept:Q8_0" }
	tests := map[string]struct {
		room Room
		want []core.ModelRef
		err  core.Kind
	}{
		"the longest unused":       {Room{Free: 1, Keep: keep}, []core.ModelRef{"hf:org/never:Q8_0"}, ""},
		"two":                      {Room{Free: one + 1, Keep: keep}, []core.ModelRef{"hf:org/never:Q8_0", "hf:org/early:Q8_0"}, ""},
		"below the limit":          {Room{Most: 6 * one, Keep: keep}, nil, ""},
		"what comes is over it":    {Room{Most: 6 * one, Come: one, Keep: keep}, []core.ModelRef{"hf:org/never:Q8_0"}, ""},
		"a full disk and a limit":  {Room{Most: 6 * one, Free: 2 * one, Keep: keep}, []core.ModelRef{"hf:org/never:Q8_0", "hf:org/early:Q8_0"}, ""},
		"all that may go":          {Room{Free: 3 * one, Keep: keep}, []core.ModelRef{"hf:org/never:Q8_0", "hf:org/early:Q8_0", "hf:org/late:Q8_0"}, ""},
		"more than may go":         {Room{Free: 4 * one, Keep: keep}, nil, core.InsufficientDisk},
		"nobody keeps what he may": {Room{Free: 4 * one}, []core.ModelRef{"hf:org/never:Q8_0", "hf:org/kept:Q8_0", "hf:org/early:Q8_0", "hf:org/late:Q8_0"}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := options(t)
			c := opened(t, o)
			stocked(t, c, o)
			removed, err := c.Evict(t.Context(), tt.room)
			var got []core.ModelRef
			for _, m := range removed {
				got = append(got, m.Ref)
				if _, err := os.Stat(m.Path); err == nil {
					t.Errorf("%s is still there", m.Path)
				}
			}
			if !slices.Equal(got, tt.want) || (tt.err == "") != (err == nil) || tt.err != "" && !errors.Is(err, tt.err) {
				t.Errorf("got %q, %v, want %q, %s", got, err, tt.want, tt.err)
			}
		})
	}
}

// stocked fills a catalog: never used, kept by the settings, used early, used late,
// pinned, in use, imported.
func stocked(t *testing.T, c *Catalog, o Options) {
	t.Helper()
	for i, name := range []string{"pinned", "busy", "late", "early", "never", "kept"} {
		add(t, c, fetched(t, o, core.ModelRef("hf:org/"+name+":Q8_0"), modeltest.GGUF("llama", byte(i), 64)))
	}
	if err := c.Pin(t.Context(), "hf:org/pinned:Q8_0", true); err != nil {
		t.Fatal(err)
	}
	_, release, err := c.Use(t.Context(), "hf:org/busy:Q8_0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	for _, name := range []string{"early", "late"} {
		if err := c.Used(t.Context(), core.ModelRef("hf:org/"+name+":Q8_0")); err != nil {
			t.Fatal(err)
		}
	}
	path, _ := copyOf(t, t.TempDir())
	if _, err := c.Import(t.Context(), path); err != nil {
		t.Fatal(err)
	}
}

func TestGC(t *testing.T) {
	o := options(t)
	c := opened(t, o)
	a := fetched(t, o, "hf:org/repo:Q8_0", modeltest.Parts("llama", 1, 64, 2)...)
	add(t, c, a)
	gone := add(t, c, fetched(t, o, "hf:org/gone:Q8_0", modeltest.GGUF("llama", 2, 64)))
	if err := os.Remove(gone.Path); err != nil {
		t.Fatal(err)
	}
	in := func(name string, old bool) string {
		path := filepath.Join(o.Models, name)
		modeltest.Write(t, path, []byte("something"))
		if long := time.Now().Add(-2 * oldEnough); old {
			_ = os.Chtimes(path, long, long)
		}
		return path
	}
	key := modeltest.Hash([]byte("something"))
	orphan, wrong := in(key+".gguf", true), in(key+".gguf.wrong", false)
	part := in(filepath.Join(key+".parts", "m-00001-of-00002.gguf"), true)
	for _, name := range []string{"notes.txt", "mine.gguf", modeltest.Hash(nil) + ".gguf", filepath.Join("mine", "m.gguf"), key + ".partial"} {
		in(name, strings.HasPrefix(name, "m") || strings.HasPrefix(name, "n")) // others' files are old, ours are young
	}
	partial := in(modeltest.Hash([]byte("old"))+".partial", true)
	if long := time.Now().Add(-2 * forgotten); os.Chtimes(partial, long, long) != nil {
		t.Fatal("the time of a file cannot be set")
	}
	in(filepath.Base(partial)+".json", true)
	before := names(t, o.Models)
	for _, dry := range []bool{true, false} {
		found, err := c.GC(t.Context(), dry)
		var what []string
		for _, g := range found {
			what = append(what, g.Path+string(g.Ref))
		}
		slices.Sort(what)
		want := []string{orphan, wrong, part, string(gone.Ref), partial}
		if slices.Sort(want); err != nil || !slices.Equal(what, want) {
			t.Errorf("dry %v: got %q, %v, want %q", dry, what, err, want)
		}
		if dry && !slices.Equal(names(t, o.Models), before) {
			t.Errorf("a dry run removed something: %q", names(t, o.Models))
		}
	}
	if found, err := c.GC(t.Context(), false); err != nil || len(found) != 0 {
		t.Errorf("a second time: %+v, %v", found, err)
	}
	if left := names(t, o.Models); len(left) != len(before)-6 { // the orphan, the wrong one, the directory of the part, the sidecar of what is gone, the old download and its state
		t.Errorf("left %q of %q", left, before)
	}
	if _, err := c.Find(t.Context(), a.Ref); err != nil {
		t.Error(err)
	}
}

// A worker runs an older revision: its files stay until it ends.
func TestGCWhileUsed(t *testing.T) {
	o := options(t)
	c := opened(t, o)
	a := fetched(t, o, "hf:org/repo:Q8_0", modeltest.Parts("llama", 1, 64, 2)...)
	add(t, c, a)
	_, release, err := c.Use(t.Context(), a.Ref)
	if err != nil {
		t.Fatal(err)
	}
	add(t, c, fetched(t, o, a.Ref, modeltest.GGUF("llama", 2, 64)))
	long := time.Now().Add(-2 * oldEnough)
	for _, f := range a.Files {
		if err := os.Chtimes(f.Path, long, long); err != nil {
			t.Fatalf("a file that is used has gone: %v", err)
		}
	}
	if found, err := c.GC(t.Context(), false); err != nil || len(found) != 0 {
		t.Errorf("while it is used: %+v, %v", found, err)
	}
	release()
	if found, err := c.GC(t.Context(), false); err != nil || len(found) != 2 {
		t.Errorf("afterwards: %+v, %v, want both files", found, err)
	}
}

// While a process fetches, files that no row names may be its.
func TestGCWhileFetching(t *testing.T) {
	o := options(t)
	c := opened(t, o)
	path := filepath.Join(o.Models, modeltest.Hash(nil)+".gguf")
	modeltest.Write(t, path, []byte("something"))
	long := time.Now().Add(-2 * oldEnough)
	if err := os.Chtimes(path, long, long); err != nil {
		t.Fatal(err)
	}
	partial := filepath.Join(o.Models, modeltest.Hash([]byte("partial"))+".partial")
	modeltest.Write(t, partial, nil)
	unlock, err := lock(t.Context(), partial)
	if err != nil {
		t.Fatal(err)
	}
	if found, err := c.GC(t.Context(), false); err != nil || len(found) != 0 {
		t.Errorf("while it is fetched: %+v, %v", found, err)
	}
	unlock()
	if found, err := c.GC(t.Context(), false); err != nil || len(found) != 1 {
		t.Errorf("afterwards: %+v, %v", found, err)
	}
}

// deed is what a child process does.
func deed(home string, words []string) error {
	o := Options{File: filepath.Join(home, ".rbee", "models.db"), Models: filepath.Join(home, "models"), State: filepath.Join(home, "state"), Log: quiet}
	ctx := context.Background()
	c, err := Open(ctx, o)
	if err != nil {
		return err
	}
	switch words[0] {
	case "use":
		_, _, err := c.Use(ctx, core.ModelRef(words[1]))
		if err != nil {
			return err
		}
		fmt.Println("used")
		select {} // until it is killed
	case "churn":
		return churn(ctx, c, o, words[1])
	}
	return fmt.Errorf("no deed %q", words)
}
