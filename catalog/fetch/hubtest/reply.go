package hubtest

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
)

// A Reply is an answer that is about to be sent. A fault changes it.
type Reply struct {
	Request *http.Request
	Path    string // of the file
	N       int    // it is the Nth answer for this file at this place, from 1
	Status  int
	Header  http.Header
	Data    io.ReaderAt // of the file
	Size    int64       // of the file
	From    int64       // the body is the bytes from here …
	To      int64       // … to here

	CutAt   int64         // ≥ 0: the connection ends after so many bytes of the body
	StallAt int64         // ≥ 0: nothing comes after so many bytes until Release
	Steps   chan struct{} // each 64 KiB of the body waits for a value
}

var rangeHeader = regexp.MustCompile(`^bytes=(\d+)-(\d*)$`)

// send sends a file, or the range of it that was asked for.
func (h *Hub) send(w http.ResponseWriter, r *http.Request, place Place, f *file) {
	reply := &Reply{Status: http.StatusOK, Header: w.Header(), Data: f.data, Size: f.size, To: f.size}
	reply.Header.Set("Accept-Ranges", "bytes")
	reply.Header.Set("Content-Type", "application/octet-stream")
	m := rangeHeader.FindStringSubmatch(r.Header.Get("Range"))
	if match := r.Header.Get("If-Range"); m != nil && (match == "" || match == reply.Header.Get("ETag")) {
		reply.From, _ = strconv.ParseInt(m[1], 10, 64)
		if last, err := strconv.ParseInt(m[2], 10, 64); err == nil {
			reply.To = min(last+1, f.size)
		}
		if reply.From >= f.size || reply.To <= reply.From {
			reply.Header.Set("Content-Range", fmt.Sprintf("bytes */%d", f.size))
			http.Error(w, "no such range", http.StatusRequestedRangeNotSatisfiable)
			return
		}
		reply.Status = http.StatusPartialContent
		reply.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", reply.From, reply.To-1, f.size))
	}
	reply.Header.Set("Content-Length", strconv.FormatInt(reply.To-reply.From, 10))
	h.reply(w, r, place, f.path, reply)
}

// reply lets the faults change an answer, and sends it.
func (h *Hub) reply(w http.ResponseWriter, r *http.Request, place Place, path string, reply *Reply) {
	h.mu.Lock()
	h.requests[asked{place, path}]++
	reply.CutAt, reply.StallAt = -1, -1
	reply.Request, reply.Path, reply.N = r, path, h.requests[asked{place, path}]
	faults, released := h.faults[place], h.released
	h.mu.Unlock()
	for _, f := range faults {
		f(reply)
	}
	w.WriteHeader(reply.Status)
	if r.Method == http.MethodHead || reply.Data == nil {
		return
	}
	h.body(w, r, reply, released)
}

// body sends the body in pieces, and counts those of the file.
func (h *Hub) body(w http.ResponseWriter, r *http.Request, reply *Reply, released <-chan struct{}) {
	buf := make([]byte, 64<<10)
	for sent := int64(0); ; {
		if sent == reply.CutAt || sent == reply.StallAt {
			_ = http.NewResponseController(w).Flush()
		}
		if sent == reply.CutAt {
			panic(http.ErrAbortHandler)
		}
		if sent == reply.StallAt && !wait(r, released) || reply.From+sent >= reply.To || reply.Steps != nil && !wait(r, reply.Steps) {
			return
		}
		n := reply.next(sent, int64(len(buf)))
		if got, err := reply.Data.ReadAt(buf[:n], reply.From+sent); int64(got) < n && err != nil {
			panic(http.ErrAbortHandler)
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return
		}
		sent += n
		if reply.Status < 300 {
			h.mu.Lock()
			h.served[reply.Path] += n
			h.mu.Unlock()
		}
	}
}

// next is how many bytes come after sent ones without a stop, at most most.
func (r *Reply) next(sent, most int64) int64 {
	n := min(most, r.To-r.From-sent)
	for _, stop := range []int64{r.CutAt, r.StallAt} {
		if stop > sent {
			n = min(n, stop-sent)
		}
	}
	return n
}

// wait waits for c; false: the client has left.
func wait(r *http.Request, c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	case <-r.Context().Done():
		return false
	}
}
