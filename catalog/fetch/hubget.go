package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"rbee/core"
)

const (
	tries     = 6
	patience  = time.Minute // for one small answer
	errorText = 4 << 10     // bytes of an answer that are read for what it says
)

// get asks the hub for something small and gives the answer to read. What may pass is
// tried again; read starts anew then. file is what of the repository is asked for, for
// errors; "" is the list of its files.
func (h *Hub) get(ctx context.Context, ref core.Hub, file string, source Source, read func(*http.Response) error) error {
	for n := 1; ; n++ {
		err := h.once(ctx, ref, file, source, read)
		if err == nil || n == tries || ctx.Err() != nil || !passes(err) {
			return err
		}
		wait := backoff(h.o.Pause, n, err)
		h.o.Log.Info("hub asked again", "model", string(ref.Ref()), "try", n+1, "wait", wait, "error", err)
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// passes tells whether asking again may help.
func passes(err error) bool {
	return core.KindOf(err).Retriable() && !errors.Is(err, errRedirect) && !errors.Is(err, errFinal)
}

// errFinal is in the tree of faults that asking again does not mend, whatever their kind.
var errFinal = errors.New("fetch: final")

func (h *Hub) once(parent context.Context, ref core.Hub, file string, source Source, read func(*http.Response) error) error {
	ctx, cancel := context.WithTimeout(parent, patience)
	defer cancel()
	r, err := source(ctx)
	if err != nil {
		return err
	}
	if file != "" {
		r.Header.Set("Range", fmt.Sprintf("bytes=0-%d", peekBytes-1))
	}
	resp, err := h.o.HTTP.Do(r)
	if err != nil {
		return h.broken(parent, ref, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusPartialContent {
		return h.refused(resp, ref, file)
	}
	if err := read(resp); err != nil {
		return h.broken(parent, ref, err)
	}
	return nil
}

// broken is the fault of an answer that did not come whole.
func (h *Hub) broken(ctx context.Context, ref core.Hub, err error) error {
	if _, ok := errors.AsType[*core.Fault](err); ok && !errors.Is(err, errRedirect) {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	kind, why := core.DownloadFailed, plain(err)
	if late, ok := errors.AsType[net.Error](err); ok && late.Timeout() {
		kind, why = core.DownloadTimeout, errors.New("no answer in time")
	}
	return &core.Fault{
		Kind: kind, What: fmt.Sprintf("%s: %s: %v", ref.Ref(), h.u.Host, why), Cause: err,
		Try: "check the network, and HF_ENDPOINT and HTTPS_PROXY if they are set",
	}
}

// plain is an error of the HTTP client without the address, which may be signed.
func plain(err error) error {
	if of, ok := errors.AsType[*url.Error](err); ok {
		return of.Err
	}
	return err
}

// refused is the fault of an answer that is none.
func (h *Hub) refused(resp *http.Response, ref core.Hub, file string) error {
	code, said := resp.Header.Get("X-Error-Code"), resp.Header.Get("X-Error-Message")
	if said == "" {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, errorText)) // a hint, if it comes
		said = strings.Trim(strings.TrimSpace(string(text)), "{}")
	}
	f := &core.Fault{Facts: []core.Fact{core.Number("status", int64(resp.StatusCode))}}
	if said != "" {
		f.Facts = append(f.Facts, core.Text("answer", fmt.Sprintf("%.200q", said)))
	}
	status, model := resp.StatusCode, ref.Ref()
	switch {
	case code == "RevisionNotFound":
		f.Kind, f.What, f.Try = core.ModelNotFound, fmt.Sprintf("%s has no revision %s", core.Hub{Repo: ref.Repo}.Ref(), ref.Revision), "leave the @ out for what is current, or see "+h.page(ref)
	case code == "RepoNotFound" || status == http.StatusNotFound && file == "":
		f.Kind, f.What, f.Try = core.ModelNotFound, fmt.Sprintf("%s is not at %s, or is private", core.Hub{Repo: ref.Repo}.Ref(), h.u.Host), "check the spelling; for a private one set HF_TOKEN"
	case status == http.StatusNotFound:
		f.Kind, f.What, f.Try = core.ModelNotFound, fmt.Sprintf("%s: %s has no file %s", model, h.u.Host, file), "see "+h.page(ref)
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		f.Kind, f.What, f.Try = core.ModelGated, fmt.Sprintf("%s does not give %s to everybody", h.u.Host, model), h.howToEnter(ref)
	default:
		f.Kind, f.What = core.DownloadFailed, fmt.Sprintf("%s: %s answers %s", model, h.u.Host, resp.Status)
		f.Try, f.Cause = "try again later", withRetryAfter(errors.New(resp.Status), resp.Header, time.Now())
		if status < 500 && status != http.StatusTooManyRequests && status != http.StatusRequestTimeout {
			f.Cause, f.Try = errFinal, "see "+h.page(ref)
		}
	}
	return f
}

// page is where people read about a repository.
func (h *Hub) page(ref core.Hub) string { return h.address(ref.Repo) }

// howToEnter is the next step for a repository that is not open to everybody.
func (h *Hub) howToEnter(ref core.Hub) string {
	if h.o.Token != "" {
		return "accept its terms at " + h.page(ref) + " as the owner of HF_TOKEN, and check that the token is valid and may read it"
	}
	return "accept its terms at " + h.page(ref) + ", make a token at " + h.u.String() + "/settings/tokens, and set HF_TOKEN"
}
