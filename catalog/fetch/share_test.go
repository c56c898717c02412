package fetch_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"rbee/catalog/fetch"
	"rbee/catalog/fetch/hubtest"
	"rbee/core"
)

// A download that was cancelled goes on where it was, and its rest alone is fetched.
func TestCancelAndResume(t *testing.T) {
	hub := hubtest.New(t)
	data := content(6, 8*mega)
	hub.Add(repo, name, data)
	hub.Fault(hubtest.Store, hubtest.Between(4, 100, hubtest.Stall(300_000)))
	o := quick(t, hub)
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	_, err := fetch.New(o).Fetch(ctx, planOf(hub, data), func(p fetch.Progress) {
		if p.Done >= 3*mega+4*300_000 {
			cancel(enough)
		}
	})
	if !errors.Is(err, enough) {
		t.Fatalf("got %v, want the cause of the cancel", err)
	}
	left, err := fetch.Leftovers(o.Dir)
	if err != nil || len(left) != 1 || left[0].Bytes != 3*mega+4*300_000 || left[0].Total != 8*mega || left[0].Busy || left[0].Name != name || left[0].Ref != "hf:org/repo:Q4_K_M" {
		t.Fatalf("left %+v, %v", left, err)
	}
	hub.Mend()
	before := hub.Served(name)
	var first fetch.Progress
	results, err := fetch.New(o).Fetch(t.Context(), planOf(hub, data), func(p fetch.Progress) {
		if first.Stage == "" {
			first = p
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	same(t, o.Dir, results, data)
	if got, want := hub.Served(name)-before, 8*mega-left[0].Bytes; got != want {
		t.Errorf("%d bytes were sent, want the %d that were missing", got, want)
	}
}

// What is on the disk but is not what its state says is not used.
func TestDamagedPartial(t *testing.T) {
	cut := func(t *testing.T, path string) {
		if err := os.Truncate(path, 1000); err != nil {
			t.Fatal(err)
		}
	}
	garbage := func(t *testing.T, path string) {
		if err := os.WriteFile(path+".json", []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	garble := func(t *testing.T, path string) { // beyond what was hashed: found at the end
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt([]byte("no"), mega+100); err != nil {
			t.Fatal(err)
		}
	}
	for what, damage := range map[string]func(*testing.T, string){"cut": cut, "no state": garbage, "garbled": garble} {
		t.Run(what, func(t *testing.T) {
			hub := hubtest.New(t)
			data := content(6, 4*mega)
			hub.Add(repo, name, data)
			hub.Fault(hubtest.Store, func(r *hubtest.Reply) { r.StallAt = 600_000 })
			o := quick(t, hub)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			_, _ = fetch.New(o).Fetch(ctx, planOf(hub, data), func(p fetch.Progress) {
				if p.Done == 4*600_000 {
					cancel()
				}
			})
			partial := filepath.Join(o.Dir, sumOf(data)+".partial")
			damage(t, partial)
			hub.Mend()
			before := hub.Served(name)
			results, err := fetch.New(o).Fetch(t.Context(), planOf(hub, data), nil)
			if err != nil {
				t.Fatal(err)
			}
			same(t, o.Dir, results, data)
			if sent := hub.Served(name) - before; what != "garbled" && sent != 4*mega {
				t.Errorf("%d bytes were sent, want the file once", sent)
			}
		})
	}
}

// Many callers of one file share its download. Who leaves does not end it, but the last
// one does.
func TestShared(t *testing.T) {
	hub := hubtest.New(t)
	data := content(7, 5*mega)
	hub.Add(repo, name, data)
	steps := make(chan struct{})
	hub.Fault(hubtest.Store, hubtest.Slow(steps))
	o := quick(t, hub)
	f := fetch.New(o)
	leaver, leave := context.WithCancel(t.Context())
	var all sync.WaitGroup
	var joined sync.WaitGroup
	for i := range 5 {
		ctx, once := t.Context(), sync.Once{}
		if i == 0 {
			ctx = leaver
		}
		joined.Add(1)
		all.Go(func() {
			results, err := f.Fetch(ctx, planOf(hub, data), func(fetch.Progress) { once.Do(joined.Done) })
			if i == 0 {
				if !errors.Is(err, context.Canceled) {
					t.Errorf("who left got %v", err)
				}
				return
			}
			if err != nil {
				t.Errorf("caller %d: %v", i, err)
				return
			}
			same(t, o.Dir, results, data)
		})
	}
	joined.Wait()
	leave()
	close(steps)
	all.Wait()
	if n := hub.Served(name); n != int64(len(data)) {
		t.Errorf("%d bytes were sent, want %d once", n, len(data))
	}
}

// The last caller who leaves ends the download; the next one starts it again.
func TestLastOneLeaves(t *testing.T) {
	hub := hubtest.New(t)
	data := content(7, 3*mega)
	hub.Add(repo, name, data)
	hub.Fault(hubtest.Store, hubtest.Stall(1))
	f := fetch.New(quick(t, hub))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			_, err := f.Fetch(ctx, planOf(hub, data), func(p fetch.Progress) {
				if p.Done > 0 {
					cancel()
				}
			})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want cancelled", err)
			}
		})
	}
	all.Wait()
	hub.Mend() // whatever the three have asked for
	if _, err := f.Fetch(t.Context(), planOf(hub, data), nil); err != nil {
		t.Error(err)
	}
}

// A model in parts lies in a directory, under the names of its source.
func TestParts(t *testing.T) {
	hub := hubtest.New(t)
	names := []string{"m-00001-of-00002.gguf", "m-00002-of-00002.gguf"}
	parts := [][]byte{content(8, 2*mega), content(9, mega)}
	for _, known := range []bool{true, false} {
		plan := fetch.Plan{Ref: "hf:org/repo:Q8_0"}
		for i, file := range names {
			hub.Add(repo, file, parts[i])
			f := fetch.File{Name: file, Size: -1, Source: source(hub, file, "")}
			if known {
				f.Size, f.SHA256 = int64(len(parts[i])), sumOf(parts[i])
			}
			plan.Files = append(plan.Files, f)
		}
		o := quick(t, hub)
		var last fetch.Progress
		results, err := fetch.New(o).Fetch(t.Context(), plan, func(p fetch.Progress) { last = p })
		if err != nil || len(results) != 2 {
			t.Fatalf("%+v, %v", results, err)
		}
		for i, r := range results {
			got, err := os.ReadFile(filepath.Join(o.Dir, sumOf(parts[0])+".parts", names[i]))
			if err != nil || !slices.Equal(got, parts[i]) || r.SHA256 != sumOf(parts[i]) || r.Name != names[i] {
				t.Errorf("part %d: %+v, %v", i, r, err)
			}
		}
		if last.Done != 3*mega || known && last.Total != 3*mega {
			t.Errorf("last progress %+v", last)
		}
	}
}

// A file in its place that is damaged is not taken: it is put aside and fetched again.
func TestDamagedInPlace(t *testing.T) {
	hub := hubtest.New(t)
	data := content(21, 2*mega)
	sum := hub.Add(repo, name, data)
	o := quick(t, hub)
	wrong := bytes.Clone(data)
	wrong[mega] ^= 1
	path := filepath.Join(o.Dir, sum+".gguf")
	if err := os.WriteFile(path, wrong, 0o600); err != nil {
		t.Fatal(err)
	}
	results, err := fetch.New(o).Fetch(t.Context(), planOf(hub, data), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(results[0].Path); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%s is not what the hub has: %v", results[0].Path, err)
	}
	if got, err := os.ReadFile(path + ".wrong"); err != nil || !bytes.Equal(got, wrong) {
		t.Errorf("the damaged file is not beside it: %v", err)
	}
	before := hub.Served(name)
	if _, err := fetch.New(o).Fetch(t.Context(), planOf(hub, data), nil); err != nil || hub.Served(name) != before {
		t.Errorf("again: %v, %d bytes more", err, hub.Served(name)-before)
	}
}

// Names that would lead out of the directory are refused.
func TestBadPlans(t *testing.T) {
	hub := hubtest.New(t)
	for what, file := range map[string]fetch.File{
		"path": {Name: "../x.gguf"}, "none": {}, "dots": {Name: ".."}, "hidden": {Name: ".x.gguf"}, "long": {Name: strings.Repeat("x", 241)}, "hash": {Name: "x.gguf", SHA256: "../../x"},
	} {
		_, err := fetch.New(quick(t, hub)).Fetch(t.Context(), fetch.Plan{Ref: "hf:a/b", Files: []fetch.File{file, file}}, nil)
		if !errors.Is(err, core.Invalid) {
			t.Errorf("%s: got %v, want it refused", what, err)
		}
	}
}

// memory is a server without a network, for time that synctest makes.
type memory struct{ data []byte }

func (m memory) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(m.data))
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

// All ranges and downloads of a process share the bandwidth.
func TestBandwidth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const perSecond = 100_000
		one, two := content(1, 3*mega), content(2, 2*mega)
		f := fetch.New(fetch.Options{Dir: t.TempDir(), Bandwidth: perSecond, RangeSize: mega})
		began := time.Now()
		var all sync.WaitGroup
		for _, data := range [][]byte{one, two} {
			all.Go(func() {
				plan := fetch.Plan{Ref: "hf:a/b", HTTP: &http.Client{Transport: memory{data}}, Files: []fetch.File{{
					Name: name, Size: int64(len(data)), SHA256: sumOf(data),
					Source: func(ctx context.Context) (*http.Request, error) {
						return http.NewRequestWithContext(ctx, http.MethodGet, "http://hub/", http.NoBody)
					},
				}}}
				if _, err := f.Fetch(t.Context(), plan, nil); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		// The bucket is full at the start: a quarter of a second's bytes.
		const size, burst = 5 * mega, perSecond / 4
		least := time.Duration(size-burst) * time.Second / perSecond
		if took := time.Since(began); took < least || took > least+time.Second {
			t.Errorf("took %v, want %v", took, least)
		}
	})
}

// Old leftovers are removed, those of a running download are not.
func TestRemoveLeftovers(t *testing.T) {
	hub := hubtest.New(t)
	data := content(6, 2*mega)
	hub.Add(repo, name, data)
	hub.Fault(hubtest.Store, hubtest.Stall(600_000))
	o := quick(t, hub)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	future := time.Now().Add(time.Hour)
	_, _ = fetch.New(o).Fetch(ctx, planOf(hub, data), func(p fetch.Progress) {
		if p.Done < 2*600_000 {
			return
		}
		if gone, err := fetch.RemoveLeftovers(o.Dir, future); err != nil || len(gone) != 0 {
			t.Errorf("removed %+v while it was under way, %v", gone, err)
		}
		if left, err := fetch.Leftovers(o.Dir); err != nil || len(left) != 1 || !left[0].Busy {
			t.Errorf("%+v, %v, want one that is busy", left, err)
		}
		cancel()
	})
	if gone, err := fetch.RemoveLeftovers(o.Dir, time.Now().Add(-time.Hour)); err != nil || len(gone) != 0 {
		t.Errorf("removed %+v, %v, want none: it is young", gone, err)
	}
	if gone, err := fetch.RemoveLeftovers(o.Dir, future); err != nil || len(gone) != 1 || gone[0].Bytes != 2*600_000 {
		t.Errorf("removed %+v, %v", gone, err)
	}
	if entries, _ := os.ReadDir(o.Dir); len(entries) != 0 {
		t.Errorf("%v are there yet", entries)
	}
}
