package fetch

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"time"

	"rbee/core"
)

// DefaultEndpoint is the hub when nobody names another.
const DefaultEndpoint = "https://huggingface.co"

// HubOptions say which hub, and as whom.
type HubOptions struct {
	Endpoint string        // empty: DefaultEndpoint
	Token    string        // empty: as nobody
	HTTP     *http.Client  // as NewClient makes it for Endpoint; nil: NewClient's
	Log      *slog.Logger  // nil: nothing is logged
	Pause    time.Duration // before the second try, doubled before each further one; 0: 100 ms
}

// A Hub speaks with a hub of models by Hugging Face's API: the list of a
// repository's files, and the files. Its methods may be called at once.
type Hub struct {
	o HubOptions
	u *url.URL // of the endpoint
}

// NewHub returns a client of a hub. It does not connect.
func NewHub(o HubOptions) (*Hub, error) {
	u, err := parseEndpoint(o.Endpoint)
	if err != nil {
		return nil, err
	}
	if o.HTTP == nil {
		if o.HTTP, err = NewClient(o.Endpoint); err != nil {
			return nil, err
		}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Pause = cmp.Or(o.Pause, 100*time.Millisecond)
	return &Hub{o: o, u: u}, nil
}

// parseEndpoint reads the address of a hub, without a slash at its end.
func parseEndpoint(text string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimRight(cmp.Or(text, DefaultEndpoint), "/"))
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("HF_ENDPOINT %.80q is no address of a hub", text), Try: "HF_ENDPOINT=" + DefaultEndpoint, Cause: err}
	}
	return u, nil
}

// Client is the client that files of this hub are to be fetched with: it follows
// redirects only where they may lead.
func (h *Hub) Client() *http.Client { return h.o.HTTP }

// Resolve finds the files that a reference stands for, and looks into the first of
// them, so that what cannot run in room is refused before it is fetched. Without a
// tag it takes the first quantization of core.Preferred that is there and fits.
func (h *Hub) Resolve(ctx context.Context, ref core.Hub, room Room) (Plan, error) {
	entries, err := h.tree(ctx, ref)
	if err != nil {
		return Plan{}, err
	}
	list := variants(entries)
	if len(list) == 0 {
		return Plan{}, h.noGGUF(ref, entries)
	}
	if ref.Tag != "" {
		v, err := tagged(ref, list)
		if err != nil {
			return Plan{}, err
		}
		p, need, err := h.look(ctx, ref, v, Room{Bytes: room.Bytes, tagged: true})
		if err == nil && need > 0 {
			err = tooLarge(p.Ref, need, room)
		}
		return p, err
	}
	return h.choose(ctx, ref, list, room)
}

// choose is Resolve without a tag.
func (h *Hub) choose(ctx context.Context, ref core.Hub, list []variant, room Room) (Plan, error) {
	candidates, err := untagged(ref, list)
	if err != nil {
		return Plan{}, err
	}
	var least core.ModelRef
	var needed int64
	for _, v := range candidates {
		p, need, err := h.look(ctx, ref, v, room)
		if err != nil {
			return Plan{}, err
		}
		if need == 0 {
			p.Note = note(v, candidates, room, least, needed)
			return p, nil
		}
		if needed == 0 || need < needed {
			least, needed = p.Ref, need
		}
	}
	return Plan{}, tooLarge(least, needed, room)
}

// look makes the plan of a variant. need is what it needs when room is too small for
// it, else 0.
func (h *Hub) look(ctx context.Context, ref core.Hub, v variant, room Room) (p Plan, need int64, err error) {
	if err := v.whole(ref); err != nil {
		return Plan{}, 0, err
	}
	ref.Tag = cmp.Or(v.tag, ref.Tag, v.name)
	if _, err := core.ParseModelRef(string(ref.Ref())); err != nil {
		return Plan{}, 0, h.unwritable(ref, v.name, err)
	}
	p = Plan{Ref: ref.Ref(), Revision: commitOf(ref.Revision), From: h.u.Host, HTTP: h.o.HTTP}
	p.Files = h.files(ref, v)
	header, commit, err := h.peek(ctx, ref, p.Files[0])
	if err != nil {
		return Plan{}, 0, err
	}
	if commit != "" && p.Revision == "" { // all of its bytes from the same state of the repository
		p.Revision, ref.Revision = commit, commit
		p.Files = h.files(ref, v)
	}
	if err := supported(p.Ref, header); err != nil {
		return Plan{}, 0, err
	}
	p.Needs = Room{Context: room.Context, Slots: room.Slots}.needs(header, v.size)
	if n := room.needs(header, v.size); room.Bytes > 0 && n > room.Bytes {
		need = n
	}
	return p, need, nil
}

// unwritable is the fault of a file whose name no reference can hold.
func (h *Hub) unwritable(ref core.Hub, name string, err error) error {
	return &core.Fault{
		Kind: core.Unsupported, What: fmt.Sprintf("%s: the name of its file %.80q cannot be written in a reference", core.Hub{Repo: ref.Repo}.Ref(), name),
		Try: "fetch it from " + h.page(ref) + " and give its path", Cause: err,
	}
}

var commitPattern = regexp.MustCompile(`^[0-9a-f]{40}$`)

// commitOf returns a revision that is a commit, else "".
func commitOf(revision string) string {
	if commitPattern.MatchString(revision) {
		return revision
	}
	return ""
}

// files are the files of a variant, in the order of its parts.
func (h *Hub) files(ref core.Hub, v variant) []File {
	files := make([]File, len(v.parts))
	for i, e := range v.parts {
		files[i] = File{Name: path.Base(e.Path), Size: e.bytes(), SHA256: e.sha256(), Source: h.source(ref, e.Path)}
	}
	return files
}

// source says where a file of a repository is: at the hub, which redirects to where
// its bytes lie.
func (h *Hub) source(ref core.Hub, file string) Source {
	address := h.address(ref.Repo, "resolve", cmp.Or(ref.Revision, "main")) + escaped(file)
	return func(ctx context.Context) (*http.Request, error) { return h.request(ctx, address) }
}

// request is a GET that bears the token. Only requests to the endpoint are made here.
func (h *Hub) request(ctx context.Context, address string) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("fetch: %w", err)
	}
	r.Header.Set("User-Agent", "rbee/"+core.Version)
	r.Header.Set("Accept-Encoding", "identity")
	if h.o.Token != "" {
		r.Header.Set("Authorization", "Bearer "+h.o.Token)
	}
	return r, nil
}

// address joins a path to the endpoint; slashes in parts are escaped.
func (h *Hub) address(repo string, parts ...string) string {
	all := []string{h.u.String() + escaped(repo)}
	for _, p := range parts {
		all = append(all, url.PathEscape(p))
	}
	return strings.Join(all, "/")
}

// escaped is a slash and a path, each of whose parts is escaped.
func escaped(file string) string {
	parts := strings.Split(file, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return "/" + strings.Join(parts, "/")
}
