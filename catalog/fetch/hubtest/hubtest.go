// Package hubtest is a hub of models for tests: real HTTP servers that speak as much
// of Hugging Face's API as rbee and the huggingface_hub client use, and that fail as
// tests want them to.
//
// The hub lists and resolves files; the bytes of those in LFS lie on a second host, the
// store, to which it redirects by signed addresses. A test says by [Hub.Fault] what
// goes wrong in which answer, and afterwards reads what was asked and served.
//
//	hub := hubtest.New(t)
//	hub.Add("org/repo", "m-q4_k_m.gguf", content)
//	hub.Fault(hubtest.Store, hubtest.Nth(1, hubtest.Cut(1<<20)))
//	t.Setenv("HF_ENDPOINT", hub.URL)
package hubtest

import (
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // git's names of files
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A Place is one of the two hosts.
type Place string

// The places: the hub lists and resolves, the store has the bytes.
const (
	Resolve Place = "hub"
	Store   Place = "store"
)

// A Hub is two servers on loopback. Its methods may be called at any time.
type Hub struct {
	URL      string // of the hub: HF_ENDPOINT
	StoreURL string

	mu       sync.Mutex // guards the rest
	repos    map[string]*repo
	faults   map[Place][]func(*Reply)
	signed   map[string]int // uses that are left of a signature; −1: any number
	uses     int            // of new signatures; 0: any number
	token    string
	pageSize int
	requests map[asked]int
	served   map[string]int64
	leaks    []string
	released chan struct{}
}

type asked struct {
	place Place
	path  string
}

type repo struct {
	commit string
	files  []*file
}

type file struct {
	path string
	sum  string
	data io.ReaderAt
	size int64
	git  bool // not in LFS: the hub itself serves it
}

// New starts a hub, which ends with the test.
func New(t testing.TB) *Hub {
	h := &Hub{
		repos: map[string]*repo{}, faults: map[Place][]func(*Reply){}, signed: map[string]int{}, pageSize: 1000,
		requests: map[asked]int{}, served: map[string]int64{}, released: make(chan struct{}),
	}
	store := start(t, h.store)
	hub := start(t, h.hub)
	h.URL, h.StoreURL = hub.URL, store.URL
	t.Cleanup(h.Release) // before the servers wait for their answers
	return h
}

// start starts a server that has little on the way: what it has written has almost
// arrived.
func start(t testing.TB, handle http.HandlerFunc) *httptest.Server {
	s := httptest.NewUnstartedServer(handle)
	s.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetWriteBuffer(64 << 10) // else a test counts more
		}
		return ctx
	}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// Add puts a file into a repository, or another content in the place of one, and
// returns its SHA-256. Files whose names end in .gguf are in LFS.
func (h *Hub) Add(name, path string, content []byte) string {
	sum := sha256.Sum256(content)
	text := hex.EncodeToString(sum[:])
	h.AddReader(name, path, bytes.NewReader(content), int64(len(content)), text)
	return text
}

// AddReader is Add of a content that need not be in memory, with the hash that the hub
// says of it.
func (h *Hub) AddReader(name, path string, data io.ReaderAt, size int64, sum string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.repos[name]
	if r == nil {
		r = &repo{}
		h.repos[name] = r
	}
	r.files = slices.DeleteFunc(r.files, func(f *file) bool { return f.path == path })
	r.files = append(r.files, &file{path, sum, data, size, !strings.HasSuffix(path, ".gguf")})
	state := sha1.New() //nolint:gosec // as git
	fmt.Fprint(state, r.commit, path, sum)
	r.commit = hex.EncodeToString(state.Sum(nil))
}

// Commit is what a repository's revision main is now.
func (h *Hub) Commit(name string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.repos[name].commit
}

// Want makes the hub refuse who does not bring the token.
func (h *Hub) Want(token string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.token = token
}

// SignFor makes each new address of the store good for so many uses.
func (h *Hub) SignFor(uses int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.uses = uses
}

// Pages makes the list of files come in pages of so many entries.
func (h *Hub) Pages(entries int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pageSize = entries
}

// Fault lets f change every answer of a place before it is sent. Several are asked in
// the order in which they came.
func (h *Hub) Fault(place Place, f func(*Reply)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults[place] = append(h.faults[place], f)
}

// Mend takes all faults away.
func (h *Hub) Mend() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.faults)
}

// Release lets all answers that stall go on, now and later.
func (h *Hub) Release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.released:
	default:
		close(h.released)
	}
}

// Requests is how often a file was asked for at a place.
func (h *Hub) Requests(place Place, path string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.requests[asked{place, path}]
}

// Served is how many bytes of a file were sent in all.
func (h *Hub) Served(path string) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.served[path]
}

// Leaks are the requests at the store that brought a token, which is none of its
// business.
func (h *Hub) Leaks() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.leaks)
}
