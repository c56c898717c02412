package roles

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// A hub answers as Hugging Face does, on this machine: the list of a repository's
// files, and the files.
type hub struct {
	*httptest.Server

	mu     sync.Mutex // guards all below
	files  map[string][]byte
	sums   map[string]string // of the files
	token  string            // that is demanded; empty: none
	tokens map[string]bool
	served int64         // bytes of files, but of what was only looked into
	stop   int64         // after so many bytes served nothing more comes
	halted chan struct{} // closed when that has happened
	goes   chan struct{} // closed when it is to go on
	left   chan struct{} // closed when a reader has left who was held up
}

const commit = "0123456789abcdef0123456789abcdef01234567"

// newHub serves files by REPO/NAME.
func newHub(t testing.TB, files map[string][]byte) *hub {
	t.Helper()
	h := &hub{files: files, sums: map[string]string{}, tokens: map[string]bool{}, stop: 1 << 60}
	for name, b := range files {
		sum := sha256.Sum256(b)
		h.sums[name] = hex.EncodeToString(sum[:])
	}
	h.Server = httptest.NewServer(h)
	t.Cleanup(func() {
		h.CloseClientConnections()
		h.Close()
	})
	return h
}

// env is what a program must know to come to this hub.
func (h *hub) env() []string { return []string{"HF_ENDPOINT=" + h.URL} }

func (h *hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	token, demanded := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), h.token
	h.tokens[token] = true
	h.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/")
	switch repo, ok := strings.CutPrefix(path, "api/models/"); {
	case ok:
		repo, _, _ = strings.Cut(repo, "/tree/")
		h.list(w, repo)
	case demanded != "" && token != demanded:
		w.Header().Set("X-Error-Code", "GatedRepo")
		http.Error(w, "gated", http.StatusForbidden)
	default:
		repo, rest, _ := strings.Cut(path, "/resolve/")
		_, name, _ := strings.Cut(rest, "/")
		h.file(w, r, repo+"/"+name)
	}
}

func (h *hub) list(w http.ResponseWriter, repo string) {
	list := []map[string]any{}
	for name, b := range h.files {
		if path, ok := strings.CutPrefix(name, repo+"/"); ok {
			list = append(list, map[string]any{
				"type": "file", "size": len(b), "path": path, "lfs": map[string]any{"oid": h.sums[name], "size": len(b)},
			})
		}
	}
	if len(list) == 0 {
		w.Header().Set("X-Error-Code", "RepoNotFound")
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	_ = json.NewEncoder(w).Encode(list)
}

// file serves a file, and counts it unless it is the look into its first megabyte.
func (h *hub) file(w http.ResponseWriter, r *http.Request, name string) {
	b, ok := h.files[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("X-Repo-Commit", commit)
	w.Header().Set("X-Linked-ETag", `"`+h.sums[name]+`"`)
	w.Header().Set("ETag", `"`+h.sums[name]+`"`)
	if r.Header.Get("Range") == "bytes=0-1048575" {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
		return
	}
	http.ServeContent(&counted{w, r, h}, r, "", time.Time{}, bytes.NewReader(b))
}

// counted counts what is written, and holds it up at the hub's stop.
type counted struct {
	http.ResponseWriter

	r *http.Request
	h *hub
}

func (c *counted) Write(p []byte) (n int, err error) {
	for len(p) > 0 && err == nil {
		c.h.mu.Lock()
		piece := p[:min(int64(len(p)), max(c.h.stop-c.h.served, 0), 16<<10)]
		c.h.served += int64(len(piece))
		halt := c.h.halted
		c.h.mu.Unlock()
		if len(piece) == 0 {
			_ = http.NewResponseController(c.ResponseWriter).Flush()
			if err := c.h.hold(c.r, halt); err != nil {
				return n, err
			}
			continue
		}
		var m int
		m, err = c.ResponseWriter.Write(piece)
		n, p = n+m, p[m:]
	}
	return n, err
}

// hold holds a reader up until the hub goes on, or the reader leaves.
func (h *hub) hold(r *http.Request, halted chan struct{}) error {
	h.mu.Lock()
	goes, left := h.goes, h.left
	h.mu.Unlock()
	h.shut(halted)
	select {
	case <-goes:
		return nil
	case <-r.Context().Done():
		h.shut(left)
		return r.Context().Err()
	}
}

// shut closes a channel that several may close.
func (h *hub) shut(c chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-c:
	default:
		close(c)
	}
}

// stopAt lets n bytes more come, and returns what is closed when they have, and what
// is closed when a reader does not wait for the rest.
func (h *hub) stopAt(n int64) (halted, left <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stop, h.halted, h.goes, h.left = h.served+n, make(chan struct{}), make(chan struct{}), make(chan struct{})
	return h.halted, h.left
}

// goOn lets all the rest come.
func (h *hub) goOn() {
	h.mu.Lock()
	h.stop = 1 << 60
	goes := h.goes
	h.mu.Unlock()
	h.shut(goes)
}

func (h *hub) bytes() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.served
}

// model reads a test's model.
func model(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("../inference/model/testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
