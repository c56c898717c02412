package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// errStalled is in the tree of errors of ranges that gave no byte for too long.
var errStalled = errors.New("no byte in time")

// A stallWatch ends the request of a range that gives no byte for too long.
type stallWatch struct {
	timer *time.Timer
	limit time.Duration
}

func watch(parent context.Context, limit time.Duration) (context.Context, *stallWatch, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	return ctx, &stallWatch{time.AfterFunc(limit, func() { cancel(errStalled) }), limit}, cancel
}

// attempt asks for the rest of a piece once, and writes what comes.
func (d *pull) attempt(parent context.Context, p *piece, buf []byte) error {
	ctx, w, cancel := watch(parent, d.f.o.Stall)
	defer cancel(nil)
	defer w.timer.Stop()
	err := d.once(ctx, p, w, buf)
	if err != nil && errors.Is(context.Cause(ctx), errStalled) {
		return fmt.Errorf("%w (%s)", errStalled, d.f.o.Stall)
	}
	return err
}

func (d *pull) once(ctx context.Context, p *piece, w *stallWatch, buf []byte) error {
	a, err := d.ask(ctx, p)
	if err != nil {
		return err
	}
	defer a.body.Close()
	if err := d.accept(a, p); err != nil {
		return err
	}
	return d.receive(ctx, p, a, w, buf)
}

// ask makes the request for the rest of a piece; the source is asked each time, for
// where it leads may hold for a short time only.
func (d *pull) ask(ctx context.Context, p *piece) (*answer, error) {
	r, err := d.j.Source(ctx)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept-Encoding", "identity")
	asked := !d.wholeOnly()
	if asked {
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", p.at, p.to-1))
	}
	resp, err := d.j.client.Do(r)
	if err != nil {
		return nil, plain(err)
	}
	a, err := d.read(resp, r.URL.Host, asked)
	if err != nil {
		resp.Body.Close()
		return nil, err
	}
	return a, nil
}

// wholeOnly tells whether the server is known to give no ranges.
func (d *pull) wholeOnly() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.noRange
}

// errMore is said of an answer with less than what was asked for, but with what it
// promised.
var errMore = errors.New("the server gives the range in parts")

// receive writes the body of an answer to the file.
func (d *pull) receive(ctx context.Context, p *piece, a *answer, w *stallWatch, buf []byte) error {
	for p.at != a.end {
		room := int64(len(buf))
		if a.end >= 0 {
			room = min(room, a.end-p.at)
		}
		w.timer.Reset(w.limit)
		n, err := a.body.Read(buf[:room])
		w.timer.Stop() // waiting for our own turn is no stall
		if n > 0 {
			if err := d.put(ctx, p, buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF && a.end < 0:
			return d.ended(p)
		case err == io.EOF && p.at < a.end:
			return fmt.Errorf("the answer ended at byte %d of %d", p.at, a.end)
		case err != nil && err != io.EOF:
			return fmt.Errorf("after byte %d: %w", p.at, plain(err))
		}
	}
	w.timer.Reset(w.limit)
	if n, _ := a.body.Read(buf[:1]); n > 0 { // it ends here, or is not what it says
		if err := d.tooLong(); err != nil {
			return err
		}
	}
	if p.at < p.to {
		return errMore
	}
	return nil
}

// put writes bytes at the end of a piece, when there is bandwidth for them.
func (d *pull) put(ctx context.Context, p *piece, b []byte) error {
	if d.f.limit != nil {
		if err := d.f.limit.WaitN(ctx, len(b)); err != nil {
			return err
		}
	}
	if _, err := d.p.data.WriteAt(b, p.at); err != nil {
		return d.disk(err)
	}
	return d.wrote(p, len(b))
}

// tooLong is the error of an answer that goes on after its end: the bytes that it
// brought are not believed, unless the hash will tell.
func (d *pull) tooLong() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.st.SHA256 != "" {
		d.log.Warn("the server sends more than it says")
		return nil
	}
	return &anew{errBroken, errors.New("the answer is longer than it says")}
}

// ended sets the size of a file whose server did not say it.
func (d *pull) ended(p *piece) error {
	d.mu.Lock()
	d.st.Size, p.to = p.at, p.at
	d.mu.Unlock()
	return d.wrote(p, 0)
}

// retryAfter is in the tree of errors of servers that say when to ask again.
type retryAfter struct {
	error
	wait time.Duration
}

func (r retryAfter) Unwrap() error { return r.error }

// mostRetryAfter is how long a server may make us wait.
const mostRetryAfter = 2 * time.Minute

// withRetryAfter adds what the answer says of when to ask again.
func withRetryAfter(err error, h http.Header, now time.Time) error {
	text := h.Get("Retry-After")
	if text == "" {
		return err
	}
	wait, bad := time.ParseDuration(text + "s")
	if bad != nil {
		at, bad := http.ParseTime(text)
		if bad != nil {
			return err
		}
		wait = at.Sub(now)
	}
	return retryAfter{err, min(max(wait, 0), mostRetryAfter)}
}
