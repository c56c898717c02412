package roles

import (
	"io"
	"net/http"
	"os"
	"sync"
	"testing"

	"rbee/catalog/fetch/hubtest"
)

// A hub counts the bytes of files that it gives, and stops where a test wants it to.
type hub struct {
	*hubtest.Hub

	mu     sync.Mutex // guards all below
	served int64
	stop   int64         // after so many bytes nothing more comes
	halted chan struct{} // closed when that has happened
	goes   chan struct{} // closed when it is to go on
	left   chan struct{} // closed when a reader has left who was held up
}

// newHub serves the files of a repository.
func newHub(t testing.TB, repo string, files map[string][]byte) *hub {
	t.Helper()
	h := &hub{Hub: hubtest.New(t), stop: 1 << 60}
	for name, b := range files {
		h.Add(repo, name, b)
	}
	h.Fault(hubtest.Store, func(r *hubtest.Reply) {
		if r.Request.Header.Get("Range") != "bytes=0-1048575" { // a look into the header
			r.Data = counted{r.Data, h, r.Request}
		}
	})
	return h
}

// env is what a program must know to come to this hub.
func (h *hub) env() []string { return []string{"HF_ENDPOINT=" + h.URL} }

// counted counts what is read to be sent, and holds it up at the hub's stop.
type counted struct {
	io.ReaderAt

	h *hub
	r *http.Request
}

func (c counted) ReadAt(b []byte, off int64) (int, error) {
	for {
		c.h.mu.Lock()
		halted, goes, left := c.h.halted, c.h.goes, c.h.left
		if c.h.served+int64(len(b)) <= c.h.stop {
			c.h.served += int64(len(b))
			c.h.mu.Unlock()
			return c.ReaderAt.ReadAt(b, off)
		}
		c.h.mu.Unlock()
		c.h.shut(halted)
		select {
		case <-goes:
		case <-c.r.Context().Done():
			c.h.shut(left)
			return 0, c.r.Context().Err()
		}
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

// stopAt lets about n bytes more come, and returns what is closed when they have, and
// what is closed when a reader does not wait for the rest.
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
