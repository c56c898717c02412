package fetch

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"rbee/core"
)

// An entry is one line of a repository's list, as the hub writes it:
// {"type":"file","oid":"…","size":1,"lfs":{"oid":"…","size":1,"pointerSize":1},"path":"…"}.
type entry struct {
	Type string `json:"type"` // "file" or "directory"
	Path string `json:"path"`
	Size int64  `json:"size"`
	LFS  *struct {
		OID  string `json:"oid"` // SHA-256 of the content
		Size int64  `json:"size"`
	} `json:"lfs"`
}

// bytes is the size of the content.
func (e entry) bytes() int64 {
	if e.LFS != nil && e.LFS.Size > 0 {
		return e.LFS.Size
	}
	return e.Size
}

// sha256 is the hash of the content; "" when the list does not say.
func (e entry) sha256() string {
	if e.LFS == nil {
		return ""
	}
	return hash(strings.TrimPrefix(e.LFS.OID, "sha256:"))
}

// hash returns a text that is a SHA-256 in lower case, else "".
func hash(text string) string {
	text = strings.ToLower(text)
	if len(text) != 64 || strings.Trim(text, "0123456789abcdef") != "" {
		return ""
	}
	return text
}

const (
	maxPage  = 16 << 20 // bytes of one answer
	maxPages = 200      // of 1000 files and more each
)

// tree lists all files of a repository.
func (h *Hub) tree(ctx context.Context, ref core.Hub) ([]entry, error) {
	first, err := url.Parse(h.address("api/models/"+ref.Repo, "tree", cmp.Or(ref.Revision, "main")) + "?recursive=true")
	if err != nil {
		return nil, fmt.Errorf("fetch: %w", err)
	}
	var all []entry
	for page, n := first, 0; page != nil; n++ {
		if n == maxPages {
			return nil, &core.Fault{Kind: core.DownloadFailed, What: fmt.Sprintf("%s: the list of its files has no end", ref.Ref())}
		}
		var next *url.URL
		err := h.get(ctx, ref, "", h.at(page), func(resp *http.Response) (err error) {
			var list []entry
			list, err = readPage(resp.Body)
			all, next = append(all, list...), nextPage(first, page, resp.Header.Values("Link"))
			return err
		})
		if err != nil {
			return nil, err
		}
		page = next
	}
	return all, nil
}

// at is the source of an address of the hub's own.
func (h *Hub) at(page *url.URL) Source {
	return func(ctx context.Context) (*http.Request, error) { return h.request(ctx, page.String()) }
}

// readPage reads the files of one page. What names a file outside of its repository
// is left out.
func readPage(body io.Reader) ([]entry, error) {
	data, err := io.ReadAll(io.LimitReader(body, maxPage+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxPage {
		return nil, errors.New("the list of files is too long")
	}
	var list []entry
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("the list of files is not as a hub writes it: %w", err)
	}
	files := list[:0]
	for _, e := range list {
		if e.Type == "file" && e.bytes() >= 0 && inside(e.Path) {
			files = append(files, e)
		}
	}
	return files, nil
}

// inside tells whether a path is clean and stays where it starts.
func inside(file string) bool {
	if strings.ContainsAny(file, "\\\x00\n\r") {
		return false
	}
	for part := range strings.SplitSeq(file, "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return true
}

// nextPage is the page that Link headers call the next of this one; nil is none. An
// address of another host is that of a mirror's origin: the page is asked of the
// mirror, so that nothing of the hub's answers leads elsewhere.
func nextPage(first, this *url.URL, links []string) *url.URL {
	for _, link := range links {
		for part := range strings.SplitSeq(link, ",") {
			address, parameters, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(part), "<"), ">")
			if !ok || !isNext(parameters) {
				continue
			}
			next, err := this.Parse(address)
			if err != nil {
				return nil
			}
			if origin(next) != origin(first) {
				own := *first
				own.RawQuery = next.RawQuery
				next = &own
			}
			next.User, next.Fragment = nil, ""
			return next
		}
	}
	return nil
}

// isNext finds rel=next among the parameters of a link.
func isNext(parameters string) bool {
	for p := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(strings.TrimSpace(name), "rel") && strings.EqualFold(strings.Trim(strings.TrimSpace(value), `"`), "next") {
			return true
		}
	}
	return false
}
