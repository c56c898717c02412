package fetch_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"rbee/catalog/fetch"
)

const commit = "0123456789abcdef0123456789abcdef01234567"

// A fakeHub answers as Hugging Face does: the list of files in pages, and a redirect
// to another host for what lies in LFS.
type fakeHub struct {
	files   map[string][]byte
	perPage int
	answer  func(w http.ResponseWriter, r *http.Request) bool // first; true: it has answered

	hub, store *httptest.Server

	mu   sync.Mutex // guards seen
	seen []*http.Request
}

func newFakeHub(t *testing.T, files map[string][]byte) *fakeHub {
	h := &fakeHub{files: files, perPage: 1000}
	h.store = httptest.NewServer(h.note(h.bytes))
	t.Cleanup(h.store.Close)
	h.hub = httptest.NewServer(h.note(h.serve))
	t.Cleanup(h.hub.Close)
	return h
}

func (h *fakeHub) note(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		h.seen = append(h.seen, r)
		h.mu.Unlock()
		next(w, r)
	}
}

// requests are those that were made, as "GET /path".
func (h *fakeHub) requests() (all []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.seen {
		all = append(all, r.Method+" "+r.URL.EscapedPath())
	}
	return all
}

func (h *fakeHub) serve(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath()
	switch {
	case h.answer != nil && h.answer(w, r):
	case strings.HasPrefix(path, "/api/models/org/repo/tree/"):
		h.tree(w, r)
	case strings.HasPrefix(path, "/org/repo/resolve/"):
		_, file, _ := strings.Cut(strings.TrimPrefix(path, "/org/repo/resolve/"), "/")
		w.Header().Set("X-Repo-Commit", commit)
		http.Redirect(w, r, h.store.URL+"/"+file+"?signature=secret", http.StatusFound)
	default:
		w.Header().Set("X-Error-Code", "RepoNotFound")
		http.Error(w, `{"error":"Repository not found"}`, http.StatusNotFound)
	}
}

func (h *fakeHub) bytes(w http.ResponseWriter, r *http.Request) {
	name, _ := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), "/"))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(h.files[name]))
}

// tree writes one page in the form of the API.
func (h *fakeHub) tree(w http.ResponseWriter, r *http.Request) {
	names := slices.Sorted(maps.Keys(h.files))
	at, _ := strconv.Atoi(r.URL.Query().Get("cursor"))
	end := min(at+h.perPage, len(names))
	if end < len(names) {
		w.Header().Set("Link", fmt.Sprintf(`<http://%s%s?recursive=true&cursor=%d>; rel="next"`, r.Host, r.URL.EscapedPath(), end))
	}
	list := []map[string]any{{"type": "directory", "oid": "d3d7c1e8", "size": 0, "path": "dir"}}
	for _, name := range names[at:end] {
		e := map[string]any{"type": "file", "oid": "b195ed2d503f3eb29637050a886d77bd81d35f0e", "size": len(h.files[name]), "path": name}
		if strings.HasSuffix(name, ".gguf") {
			sum := sha256.Sum256(h.files[name])
			e["lfs"] = map[string]any{"oid": hex.EncodeToString(sum[:]), "size": len(h.files[name]), "pointerSize": 134}
		}
		list = append(list, e)
	}
	_ = json.NewEncoder(w).Encode(list)
}

// client is a hub's client with the token "sesame".
func (h *fakeHub) client(t *testing.T) *fetch.Hub {
	c, err := fetch.NewHub(fetch.HubOptions{Endpoint: h.hub.URL + "/", Token: "sesame", Pause: time.Microsecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Client().CloseIdleConnections)
	return c
}

// model is a GGUF file of an architecture: two layers, 64 wide, four heads, so that
// each token takes 1 KiB of cache, and size bytes.
func model(arch string, size int) []byte {
	var w bytes.Buffer
	number := func(v any) { _ = binary.Write(&w, binary.LittleEndian, v) }
	text := func(s string) { number(uint64(len(s))); w.WriteString(s) }
	keys := []struct {
		name  string
		value uint32
	}{{"block_count", 2}, {"embedding_length", 64}, {"attention.head_count", 4}, {"feed_forward_length", 128}, {"context_length", 2048}}
	w.WriteString("GGUF")
	number(uint32(3))
	number(uint64(1))
	number(uint64(len(keys) + 2))
	text("general.architecture")
	number(uint32(8))
	text(arch)
	for _, k := range keys {
		text(arch + "." + k.name)
		number(uint32(4))
		number(k.value)
	}
	text("tokenizer.ggml.tokens")
	number(uint32(9))
	number(uint32(8))
	number(uint64(2))
	text("a")
	text("b")
	return append(w.Bytes(), make([]byte, max(size-w.Len(), 0))...)
}
