package catalog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rbee/catalog/modeltest"
	"rbee/core"
)

var quiet = slog.New(slog.DiscardHandler)

func TestMain(m *testing.M) {
	if home := os.Getenv("CATALOG_HOME"); home != "" {
		if err := deed(home, strings.Fields(os.Getenv("CATALOG_DEED"))); err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// churn registers and removes models of one or two files until it is killed, and says
// so before and after. The processes share their files: each has references of its
// own to the same contents.
func churn(ctx context.Context, c *Catalog, o Options, who string) error {
	r := rand.New(rand.NewPCG(uint64(os.Getpid()), uint64(time.Now().UnixNano())))
	here := map[int]bool{}
	for {
		i := r.IntN(6)
		ref := core.ModelRef(fmt.Sprintf("hf:%s/m%d:Q8_0", who, i))
		var err error
		if here[i] {
			fmt.Println("removing", ref)
			if err = c.Remove(ctx, ref); err == nil {
				fmt.Println("removed", ref)
			}
		} else {
			fmt.Println("adding", ref)
			if _, err = c.AddFetched(ctx, bring(o, ref, contentsOf(i))); err == nil {
				fmt.Println("added", ref)
			}
		}
		switch {
		case err == nil:
			here[i] = !here[i]
		case errors.Is(err, core.ModelNotFound) && !here[i]: // another process removed the files meanwhile: bring them again
		default:
			return err
		}
	}
}

// contentsOf are the files of model i: one, or two parts.
func contentsOf(i int) [][]byte {
	if i%2 == 0 {
		return [][]byte{modeltest.GGUF("llama", byte(i), 256)}
	}
	return modeltest.Parts("llama", byte(i), 256, 2)
}

// bring puts files where a download puts them, each by a rename.
func bring(o Options, ref core.ModelRef, contents [][]byte) Addition {
	a := Addition{Ref: ref, Source: Fetched}
	key := modeltest.Hash(contents[0])
	for i, content := range contents {
		f := File{Name: "m.gguf", Path: filepath.Join(o.Models, key+".gguf"), SHA256: modeltest.Hash(content)}
		if len(contents) > 1 {
			f.Name = modeltest.PartName("m", i, len(contents))
			f.Path = filepath.Join(o.Models, key+".parts", f.Name)
		}
		_ = os.MkdirAll(filepath.Dir(f.Path), 0o700)
		temp := filepath.Join(o.Models, fmt.Sprintf("%d.partial", os.Getpid()))
		if _, err := os.Stat(f.Path); err != nil && os.WriteFile(temp, content, 0o600) == nil {
			_ = os.Rename(temp, f.Path) // fails when the directory has gone: then it is not registered
		}
		a.Files = append(a.Files, f)
	}
	return a
}

// Processes of one home are killed at any moment of their writes. Nothing that they
// said is done is undone, nothing is registered by half, and the next Open is fine.
func TestKill(t *testing.T) {
	rounds := 30
	if testing.Short() {
		rounds = 5
	}
	o := options(t)
	said := map[core.ModelRef]string{}
	lines := 0
	for round := range rounds {
		lines += killed(t, o, said, time.Duration(rand.IntN(60))*time.Millisecond)
		c, err := Open(t.Context(), o)
		if err != nil {
			t.Fatalf("round %d: Open: %v", round, err)
		}
		if round%10 == 9 { // and the catalog itself is lost
			c = lost(t, c, o)
		}
		sound(t, c, o, said)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if left := names(t, filepath.Dir(o.File)); !slices.Equal(left, []string{"models.db"}) {
			t.Errorf("beside the catalog: %q", left)
		}
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
	t.Logf("%d rounds, %d lines said", rounds, lines)
}

// killed runs three processes that churn, kills them after a while, and writes down
// the last thing each said of each reference.
func killed(t *testing.T, o Options, said map[core.ModelRef]string, after time.Duration) (lines int) {
	t.Helper()
	var mu sync.Mutex // guards said and lines
	var all sync.WaitGroup
	for i := range 3 {
		cmd, out := child(t, o, "churn", fmt.Sprintf("p%d", i))
		all.Go(func() {
			var once sync.Once
			for out.Scan() {
				word, ref, _ := strings.Cut(out.Text(), " ")
				mu.Lock()
				said[core.ModelRef(ref)], lines = word, lines+1
				mu.Unlock()
				once.Do(func() { time.AfterFunc(after, func() { _ = cmd.Process.Kill() }) })
			}
			if err := cmd.Wait(); cmd.ProcessState.Exited() {
				t.Errorf("a process ended by itself: %v", err)
			}
		})
	}
	all.Wait()
	return lines
}

// lost replaces the catalog's file by garbage and opens it again.
func lost(t *testing.T, c *Catalog, o Options) *Catalog {
	t.Helper()
	if err := errors.Join(c.Close(), os.WriteFile(o.File, []byte(strings.Repeat("garbage", 1000)), 0o600)); err != nil {
		t.Fatal(err)
	}
	c, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// sound checks a catalog against what was said, and makes said what is.
func sound(t *testing.T, c *Catalog, o Options, said map[core.ModelRef]string) {
	t.Helper()
	for ref, word := range said {
		m, err := c.Find(t.Context(), ref)
		switch {
		case err != nil && !errors.Is(err, core.ModelNotFound):
			t.Errorf("%s, last said %s: %v", ref, word, err)
		case word == "added" && err != nil:
			t.Errorf("%s was added and is lost: %v", ref, err)
		case word == "removed" && err == nil:
			t.Errorf("%s was removed and is there: %+v", ref, m)
		}
		if err == nil {
			whole(t, m)
		}
	}
	all, err := c.List(t.Context())
	if err != nil {
		t.Error(err)
	}
	rows := map[string]int{}
	for _, m := range all {
		rows[m.key()]++
	}
	sidecars, _ := filepath.Glob(filepath.Join(o.Models, "*"+sidecarSuffix))
	for _, name := range sidecars {
		key := strings.TrimSuffix(filepath.Base(name), sidecarSuffix)
		if says, err := c.readSidecar(key); err != nil || len(says) != rows[key] {
			t.Errorf("%s says %+v, %v; there are %d rows", name, says, err, rows[key])
		}
		delete(rows, key)
	}
	if len(rows) > 0 {
		t.Errorf("rows without a sidecar: %v", rows)
	}
	// The next processes start without models, so that they know what is theirs.
	for _, m := range all {
		if err := c.Remove(t.Context(), m.Ref); err != nil {
			t.Error(err)
		}
	}
	clear(said)
}

// whole checks that a model's files have the content that their names promise.
func whole(t *testing.T, m Model) {
	t.Helper()
	for _, f := range m.Files {
		b, err := os.ReadFile(f.Path)
		if got := modeltest.Hash(b); err != nil || got != f.SHA256 || got != f.Promised {
			t.Errorf("%s: %s has the hash %s, %v, want %s", m.Ref, f.Path, got, err, f.Promised)
		}
	}
}

// A model whose files another process removes while they are registered is refused, or
// its files are there.
func TestAddWhileRemoved(t *testing.T) {
	o := options(t)
	one, two := opened(t, o), opened(t, o)
	const turns = 60
	refused := 0
	for i := range turns {
		content := contentsOf(0)
		a, b := fetched(t, o, "hf:org/one:Q8_0", content...), fetched(t, o, "hf:org/two:Q8_0", content...)
		add(t, one, a)
		var both sync.WaitGroup
		both.Go(func() {
			if err := one.Remove(context.WithoutCancel(t.Context()), a.Ref); err != nil {
				t.Error(err)
			}
		})
		_, err := two.AddFetched(t.Context(), b)
		both.Wait()
		_, gone := os.Stat(b.Files[0].Path)
		switch {
		case errors.Is(err, core.ModelNotFound):
			refused++
		case err != nil || gone != nil:
			t.Fatalf("turn %d: registered with %v, and the file: %v", i, err, gone)
		}
		if err := two.Remove(t.Context(), b.Ref); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d of %d refused", refused, turns)
}
