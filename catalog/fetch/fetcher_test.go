package fetch_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"rbee/catalog/fetch"
	"rbee/catalog/fetch/hubtest"
)

// content is size bytes that no two seeds share.
func content(seed byte, size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

const repo, name = "org/repo", "m-q4_k_m.gguf"

// client is the hub's client, with little on the way: what was sent has almost arrived.
func client(t testing.TB, hub *hubtest.Hub) *http.Client {
	t.Helper()
	c, err := fetch.NewClient(hub.URL)
	if err != nil {
		t.Fatal(err)
	}
	tr := c.Transport.(*http.Transport)
	dial := tr.DialContext
	tr.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetReadBuffer(64 << 10)
		}
		return conn, err
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// quick are options under which a test does not wait for long.
func quick(t testing.TB, hub *hubtest.Hub) fetch.Options {
	return fetch.Options{Dir: t.TempDir(), HTTP: client(t, hub), RangeSize: mega, Backoff: time.Microsecond, Every: time.Millisecond}
}

// source says where a file of the hub is.
func source(hub *hubtest.Hub, file, token string) fetch.Source {
	return func(ctx context.Context) (*http.Request, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, hub.URL+"/"+repo+"/resolve/main/"+url.PathEscape(file), http.NoBody)
		if err == nil && token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		return r, err
	}
}

// planOf is of one file of which everything is known.
func planOf(hub *hubtest.Hub, data []byte) fetch.Plan {
	return fetch.Plan{Ref: "hf:org/repo:Q4_K_M", Files: []fetch.File{{Name: name, Size: int64(len(data)), SHA256: sumOf(data), Source: source(hub, name, "")}}}
}

// blind is planOf when the plan does not know the file's size and hash.
func blind(hub *hubtest.Hub) fetch.Plan {
	return fetch.Plan{Ref: "hf:org/repo:Q4_K_M", Files: []fetch.File{{Name: name, Size: -1, Source: source(hub, name, "")}}}
}

// same fails the test unless the one result is data, in its place, and nothing else is
// in the directory.
func same(t testing.TB, dir string, results []fetch.Result, data []byte) {
	t.Helper()
	if len(results) != 1 {
		t.Fatalf("got %d results, want 1", len(results))
	}
	r := results[0]
	if want := filepath.Join(dir, sumOf(data)+".gguf"); r.Path != want || r.SHA256 != sumOf(data) || r.Size != int64(len(data)) || r.Name != name {
		t.Errorf("got %+v, want %s", r, want)
	}
	got, err := os.ReadFile(r.Path)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("the file is not what the hub has: %v, %d bytes, want %d", err, len(got), len(data))
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("got %v in the directory, want the file alone: %v", entries, err)
	}
}

func TestFetch(t *testing.T) {
	hub := hubtest.New(t)
	data := content(1, 9*mega+17)
	hub.Add(repo, name, data)
	o := quick(t, hub)
	var last fetch.Progress
	results, err := fetch.New(o).Fetch(t.Context(), planOf(hub, data), func(p fetch.Progress) { last = p })
	if err != nil {
		t.Fatal(err)
	}
	same(t, o.Dir, results, data)
	if last.Done != int64(len(data)) || last.Total != last.Done {
		t.Errorf("last progress %+v, want all", last)
	}
	if n := hub.Served(name); n != int64(len(data)) {
		t.Errorf("%d bytes were sent, want %d", n, len(data))
	}
	if _, err := fetch.New(o).Fetch(t.Context(), planOf(hub, data), nil); err != nil || hub.Requests(hubtest.Store, name) != 10 {
		t.Errorf("a file that is here: %v, %d requests, want 10", err, hub.Requests(hubtest.Store, name))
	}
}
