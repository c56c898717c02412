package fetch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"rbee/core"
)

// An answer is what a server says of a file, and bytes of it.
type answer struct {
	body      io.ReadCloser
	ranged    bool  // 206
	from, end int64 // of the body; end −1: until it ends
	size      int64 // of the file; −1: it does not say
	sum       string
	validator string
	host      string
}

// read checks the head of an answer. hub is the host that was asked, which may have
// led elsewhere; asked tells whether it was for a range.
func (d *pull) read(resp *http.Response, hub string, asked bool) (*answer, error) {
	a := &answer{body: resp.Body, host: resp.Request.URL.Host, size: -1}
	a.validator = strings.TrimSpace(cmp.Or(resp.Header.Get("ETag"), resp.Header.Get("Last-Modified")))
	linked := int64(-1)
	for r := resp; r != nil; r = r.Request.Response {
		if sum := strings.ToLower(strings.Trim(r.Header.Get("X-Linked-Etag"), `"`)); isSum(sum) {
			a.sum = sum
		}
		if n, err := strconv.ParseInt(r.Header.Get("X-Linked-Size"), 10, 64); err == nil && n >= 0 {
			linked = n
		}
	}
	switch resp.StatusCode {
	case http.StatusPartialContent:
		if !asked {
			return nil, errors.New("the server answers 206, but was asked for the whole file")
		}
		if err := a.contentRange(resp); err != nil {
			return nil, err
		}
	case http.StatusOK:
		a.size, a.end = resp.ContentLength, resp.ContentLength
	default:
		return nil, d.refused(resp, hub)
	}
	if linked >= 0 && a.size >= 0 && linked != a.size {
		return nil, fmt.Errorf("the file has %d bytes, but the hub says %d", a.size, linked)
	}
	if a.size = max(a.size, linked); a.size > maxSize {
		return nil, fmt.Errorf("the file is said to have %d bytes", a.size)
	}
	if a.end < 0 {
		a.end = a.size
	}
	return a, nil
}

var rangePattern = regexp.MustCompile(`^bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)$`)

// contentRange reads which bytes a 206 brings.
func (a *answer) contentRange(resp *http.Response) error {
	text := resp.Header.Get("Content-Range")
	m := rangePattern.FindStringSubmatch(text)
	if m == nil {
		return fmt.Errorf("the server answers 206 with the Content-Range %.80q", text)
	}
	a.ranged = true
	a.from, _ = strconv.ParseInt(m[1], 10, 64)
	last, _ := strconv.ParseInt(m[2], 10, 64)
	a.end = last + 1
	if m[3] != "*" {
		a.size, _ = strconv.ParseInt(m[3], 10, 64)
	}
	long := resp.ContentLength >= 0 && resp.ContentLength != a.end-a.from
	if a.end <= a.from || a.size >= 0 && a.end > a.size || long {
		return fmt.Errorf("the server answers 206 with the Content-Range %.80q and %d bytes", text, resp.ContentLength)
	}
	return nil
}

// accept compares an answer with what is known of the file; the first one says what
// was not known. A piece is cut to the size of the file.
func (d *pull) accept(a *answer, p *piece) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if want := d.j.SHA256; want != "" && a.sum != "" && a.sum != want {
		return d.failed(core.DownloadFailed, fmt.Errorf("%s has another file now: its SHA-256 is %s, not %s", a.host, a.sum, want))
	}
	if d.j.Size >= 0 && a.size >= 0 && a.size != d.j.Size {
		return fmt.Errorf("%s has %d bytes, expected %d", a.host, a.size, d.j.Size)
	}
	if err := d.same(a); err != nil {
		return err
	}
	if !a.ranged {
		if err := d.fromStart(a, p); err != nil {
			return err
		}
	} else if a.from != p.at || a.end > p.to {
		return fmt.Errorf("%s answers with the bytes %d to %d, asked for %d to %d", a.host, a.from, a.end-1, p.at, p.to-1)
	}
	d.st.SHA256, d.st.Validator, d.st.Host = cmp.Or(d.st.SHA256, a.sum), cmp.Or(a.validator, d.st.Validator), a.host
	if d.known {
		return nil
	}
	return d.learn(a, p)
}

// same is an error when the bytes that are here are of another file than the answer.
func (d *pull) same(a *answer) error {
	here := d.fl.done.Load() > 0 || d.known
	changed := func(what, was, is string) error {
		return &anew{errChanged, fmt.Errorf("%s: %s was %s, is %s", a.host, what, was, is)}
	}
	switch {
	case !here:
		return nil
	case d.st.Size >= 0 && a.size >= 0 && a.size != d.st.Size:
		return changed("its size", strconv.FormatInt(d.st.Size, 10), strconv.FormatInt(a.size, 10))
	case d.st.SHA256 != "" && a.sum != "" && a.sum != d.st.SHA256:
		return changed("its SHA-256", d.st.SHA256, a.sum)
	case d.st.SHA256 != "" && a.host != d.st.Host: // another source of the same
		return nil
	case d.st.Validator != "" && a.validator != d.st.Validator:
		return changed("its ETag", d.st.Validator, cmp.Or(a.validator, "none"))
	case d.st.SHA256 == "" && d.st.Validator == "" && !d.known:
		return changed("its ETag", "none", cmp.Or(a.validator, "none"))
	}
	return nil
}

// fromStart makes a pull of the whole file in one stream, for a server that gives no
// ranges. What was here is fetched again.
func (d *pull) fromStart(a *answer, p *piece) error {
	if d.known && !d.whole {
		return fmt.Errorf("%s answers with the whole file, asked for the bytes from %d", a.host, p.at)
	}
	d.noRange, d.whole = true, true
	if a.end < 0 {
		a.end = d.st.Size
	}
	if n := d.fl.done.Load(); n > 0 {
		d.log.Warn("download starts anew", "bytes_lost", n, "error", "the server gives no ranges")
	}
	d.st.Done, d.st.Durable, d.st.Hashed, d.st.Hash = nil, 0, 0, nil
	d.fl.done.Store(0)
	p.from, p.at, p.noted, p.to = 0, 0, 0, a.end
	return d.p.empty(d.st)
}

// learn takes from the first answer of a run what was not known, and cuts the rest of
// the file into pieces.
func (d *pull) learn(a *answer, p *piece) error {
	if a.size < 0 && a.ranged && d.st.Size < 0 {
		return errors.New("the server does not say how long the file is")
	}
	d.st.Size = max(d.st.Size, a.size)
	d.fl.total.Store(max(d.st.Size, 0))
	switch {
	case d.whole:
		d.todo = nil
	default:
		p.to = min(p.to, d.st.Size)
		d.todo = d.st.Done.with(span{p.from, p.to}).gaps(d.st.Size, d.pieceSize())
	}
	if err := d.spaceFirst(); err != nil {
		return err
	}
	d.known = true
	close(d.served)
	return nil
}

// refused is the error of an answer without bytes. What the hub itself says is final;
// where it led to may have been good for a time only.
func (d *pull) refused(resp *http.Response, hub string) error {
	status, host := resp.StatusCode, resp.Request.URL.Host
	text, _ := io.ReadAll(io.LimitReader(resp.Body, errorText)) // a hint, if it comes
	err := fmt.Errorf("%s answers %s", host, resp.Status)
	f := &core.Fault{Cause: err, Facts: []core.Fact{core.Number("status", int64(status))}}
	if said := cmp.Or(resp.Header.Get("X-Error-Message"), strings.TrimSpace(string(text))); said != "" {
		f.Facts = append(f.Facts, core.Text("answer", fmt.Sprintf("%.200q", said)))
	}
	switch {
	case status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout:
		return withRetryAfter(err, resp.Header, time.Now())
	case host != hub || status < 400 || status == http.StatusRequestedRangeNotSatisfiable:
		return err
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		f.Kind, f.What = core.ModelGated, fmt.Sprintf("%s does not give %s to everybody", host, d.j.ref)
		f.Try = "accept its terms at its page, and set HF_TOKEN to a token that may read it"
	case status == http.StatusNotFound || status == http.StatusGone:
		f.Kind, f.What = core.ModelNotFound, fmt.Sprintf("%s: %s has no file %s", d.j.ref, host, d.j.Name)
		f.Try = "check the spelling of the reference"
	default:
		f.Kind, f.What, f.Cause = core.DownloadFailed, fmt.Sprintf("%s: %v", d.j.ref, err), errors.Join(errFinal, err)
		f.Try = "see what " + host + " says of it"
	}
	return f
}

// final tells whether trying again does not help.
func final(err error) bool {
	if _, ok := errors.AsType[*anew](err); ok {
		return true
	}
	f, ok := errors.AsType[*core.Fault](err)
	return ok && (!f.Kind.Retriable() || errors.Is(err, errFinal) || errors.Is(err, errRedirect))
}

// failed is the fault of a download that was given up.
func (d *pull) failed(kind core.Kind, err error) error {
	return &core.Fault{
		Kind: kind, What: fmt.Sprintf("%s: %s did not come: %v", d.j.ref, d.j.Name, err), Cause: errors.Join(errFinal, err),
		Try: "check the network and try again: what has arrived is kept",
	}
}

// exhausted is the fault of a range that was tried often enough.
func (d *pull) exhausted(err error, tries int) error {
	if f, ok := errors.AsType[*core.Fault](err); ok { // of the source
		return f
	}
	kind := core.DownloadFailed
	if errors.Is(err, errStalled) {
		kind = core.DownloadTimeout
	}
	return d.failed(kind, fmt.Errorf("%w, in the last of %d tries", err, tries))
}

// backoff is how long to wait after a number of tries, pause being the first wait: a
// server that says when to ask again is heard.
func backoff(pause time.Duration, tries int, err error) time.Duration {
	wait := float64(pause<<min(tries-1, 10)) * (0.5 + rand.Float64())
	if r, ok := errors.AsType[retryAfter](err); ok {
		return max(time.Duration(wait), r.wait)
	}
	return time.Duration(wait)
}

// sleep waits, unless ctx ends first.
func sleep(ctx context.Context, wait time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(wait):
		return nil
	}
}
