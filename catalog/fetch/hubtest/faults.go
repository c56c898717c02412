package hubtest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// Nth is a fault of the nth answer of a place for each file, from 1.
func Nth(n int, f func(*Reply)) func(*Reply) {
	return Between(n, n, f)
}

// Between is a fault of the answers from the nth to the mth.
func Between(n, m int, f func(*Reply)) func(*Reply) {
	return func(r *Reply) {
		if r.N >= n && r.N <= m {
			f(r)
		}
	}
}

// Cut ends the connection after so many bytes of the body.
func Cut(at int64) func(*Reply) { return func(r *Reply) { r.CutAt = at } }

// Stall gives nothing after so many bytes of the body, until Release.
func Stall(at int64) func(*Reply) { return func(r *Reply) { r.StallAt = at } }

// Slow gives 64 KiB of the body for each value of steps.
func Slow(steps chan struct{}) func(*Reply) { return func(r *Reply) { r.Steps = steps } }

// Answer answers with a status, and the text as the body.
func Answer(status int, text string, header ...string) func(*Reply) {
	return func(r *Reply) {
		r.Status = status
		r.Header.Del("Content-Range")
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		r.body(bytes.NewReader([]byte(text)), 0, int64(len(text)))
	}
}

// Whole answers a request for a range with 200 and the whole file.
func Whole(r *Reply) {
	if r.Status == http.StatusPartialContent {
		r.Status = http.StatusOK
		r.Header.Del("Content-Range")
		r.Header.Del("Accept-Ranges")
		r.body(r.Data, 0, r.Size)
	}
}

// WrongRange answers with other bytes than were asked for, and says so.
func WrongRange(r *Reply) {
	if r.Status == http.StatusPartialContent {
		r.From++
		r.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", r.From, r.To-1, r.Size))
		r.body(r.Data, r.From, r.To)
	}
}

// Garbled answers with other bytes, and does not say so.
func Garbled(r *Reply) { r.Data = garbled{r.Data} }

// Length makes the file longer by so many bytes, or shorter, as the answer tells it.
func Length(more int64) func(*Reply) {
	return func(r *Reply) {
		r.Size += more
		if r.Status == http.StatusPartialContent {
			r.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", r.From, r.To-1, r.Size))
			return
		}
		r.body(io.NewSectionReader(garbled{r.Data}, 0, r.Size), r.From, r.To+more)
	}
}

// Unlimited sends more bytes than it says, in chunks: the body has no length.
func Unlimited(more int64) func(*Reply) {
	return func(r *Reply) {
		r.Header.Del("Content-Length")
		r.To += more
		r.Data = padded{r.Data}
	}
}

// Chunked gives no length of the body.
func Chunked(r *Reply) { r.Header.Del("Content-Length") }

// Redirect leads elsewhere.
func Redirect(address string) func(*Reply) {
	return func(r *Reply) {
		r.Status = http.StatusFound
		r.Header.Set("Location", address)
		r.Data = nil
	}
}

// Header sets a header, or with "" takes it away.
func Header(name, value string) func(*Reply) {
	return func(r *Reply) {
		r.Header.Set(name, value)
		if value == "" {
			r.Header.Del(name)
		}
	}
}

// Both is one fault and another.
func Both(f, g func(*Reply)) func(*Reply) { return func(r *Reply) { f(r); g(r) } }

// body makes the body bytes of data.
func (r *Reply) body(data io.ReaderAt, from, to int64) {
	r.Data, r.From, r.To = data, from, to
	r.Header.Set("Content-Length", strconv.FormatInt(to-from, 10))
}

// garbled is data with every byte turned round.
type garbled struct{ io.ReaderAt }

func (g garbled) ReadAt(b []byte, off int64) (int, error) {
	n, err := padded(g).ReadAt(b, off)
	for i := range b[:n] {
		b[i] ^= 0xff
	}
	return n, err
}

// padded is data that goes on for ever, with zeros.
type padded struct{ io.ReaderAt }

func (p padded) ReadAt(b []byte, off int64) (int, error) {
	n, err := p.ReaderAt.ReadAt(b, off)
	if err != nil && err != io.EOF {
		return n, err
	}
	clear(b[n:])
	return len(b), nil
}
