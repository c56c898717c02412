package hubtest

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	treePath    = regexp.MustCompile(`^/api/models/([^/]+/[^/]+)/tree/([^/]+)$`)
	resolvePath = regexp.MustCompile(`^/([^/]+/[^/]+)/resolve/([^/]+)/(.+)$`)
	storePath   = regexp.MustCompile(`^/blobs/([^/]+/[^/]+)/(.+)$`)
)

// hub answers as the hub.
func (h *Hub) hub(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	token := h.token
	h.mu.Unlock()
	if token != "" && r.Header.Get("Authorization") != "Bearer "+token {
		refuse(w, http.StatusUnauthorized, "GatedRepo", "Access to model is restricted. You must have access to it and be authenticated.")
		return
	}
	if m := treePath.FindStringSubmatch(r.URL.Path); m != nil {
		h.tree(w, r, m[1], m[2])
		return
	}
	m := resolvePath.FindStringSubmatch(r.URL.Path)
	if m == nil {
		refuse(w, http.StatusNotFound, "RepoNotFound", "Repository not found")
		return
	}
	h.resolve(w, r, m[1], m[2], m[3])
}

func refuse(w http.ResponseWriter, status int, code, text string) {
	w.Header().Set("X-Error-Code", code)
	w.Header().Set("X-Error-Message", text)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": text})
}

// find returns a repository at a revision; none is said to the client.
func (h *Hub) find(w http.ResponseWriter, name, revision string) (commit string, files []*file, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.repos[name]
	switch {
	case r == nil:
		refuse(w, http.StatusNotFound, "RepoNotFound", "Repository not found")
		return "", nil, false
	case revision != "main" && revision != r.commit:
		refuse(w, http.StatusNotFound, "RevisionNotFound", "Invalid rev id: "+revision)
		return "", nil, false
	}
	return r.commit, slices.Clone(r.files), true
}

// tree answers with one page of the list of a repository's files.
func (h *Hub) tree(w http.ResponseWriter, r *http.Request, name, revision string) {
	_, files, ok := h.find(w, name, revision)
	if !ok {
		return
	}
	h.mu.Lock()
	size := h.pageSize
	h.mu.Unlock()
	slices.SortFunc(files, func(a, b *file) int { return strings.Compare(a.path, b.path) })
	at, _ := strconv.Atoi(r.URL.Query().Get("cursor"))
	at = min(max(at, 0), len(files))
	end := min(at+size, len(files))
	if end < len(files) {
		w.Header().Set("Link", fmt.Sprintf(`<%s%s?recursive=true&cursor=%d>; rel="next"`, h.URL, r.URL.EscapedPath(), end))
	}
	list := []map[string]any{}
	for _, f := range files[at:end] {
		e := map[string]any{"type": "file", "path": f.path, "size": f.size, "oid": f.sum[:40]}
		if !f.git {
			e["lfs"] = map[string]any{"oid": f.sum, "size": f.size, "pointerSize": 134}
		}
		list = append(list, e)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(list)
}

// resolve answers with a file, or where its bytes lie.
func (h *Hub) resolve(w http.ResponseWriter, r *http.Request, name, revision, path string) {
	commit, files, ok := h.find(w, name, revision)
	if !ok {
		return
	}
	w.Header().Set("X-Repo-Commit", commit)
	i := slices.IndexFunc(files, func(f *file) bool { return f.path == path })
	if i < 0 {
		refuse(w, http.StatusNotFound, "EntryNotFound", "Entry not found")
		return
	}
	f := files[i]
	if f.git {
		w.Header().Set("ETag", `"`+f.sum[:40]+`"`)
		h.send(w, r, Resolve, f)
		return
	}
	w.Header().Set("Accept-Ranges", "bytes")
	w.Header().Set("ETag", `"`+f.sum+`"`)
	w.Header().Set("X-Linked-Etag", `"`+f.sum+`"`)
	w.Header().Set("X-Linked-Size", strconv.FormatInt(f.size, 10))
	w.Header().Set("Location", h.StoreURL+(&url.URL{Path: "/blobs/" + name + "/" + path}).EscapedPath()+"?signature="+h.sign())
	reply := &Reply{Status: http.StatusFound, Header: w.Header()}
	h.reply(w, r, Resolve, f.path, reply)
}

// sign makes a signature.
func (h *Hub) sign() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	text := rand.Text()
	h.signed[text] = h.uses
	if h.uses == 0 {
		h.signed[text] = -1
	}
	return text
}

// use tells whether a signature is good, once more.
func (h *Hub) use(signature string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.signed[signature]
	if n > 0 {
		h.signed[signature]--
	}
	return n != 0
}

// store answers as the store.
func (h *Hub) store(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "" {
		h.mu.Lock()
		h.leaks = append(h.leaks, r.Method+" "+r.URL.Path)
		h.mu.Unlock()
	}
	m := storePath.FindStringSubmatch(r.URL.Path)
	if m == nil {
		http.NotFound(w, r)
		return
	}
	h.mu.Lock()
	var found *file
	if repo := h.repos[m[1]]; repo != nil {
		if i := slices.IndexFunc(repo.files, func(f *file) bool { return f.path == m[2] }); i >= 0 {
			found = repo.files[i]
		}
	}
	h.mu.Unlock()
	switch {
	case found == nil:
		http.NotFound(w, r)
	case !h.use(r.URL.Query().Get("signature")):
		http.Error(w, "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>", http.StatusForbidden)
	default:
		w.Header().Set("ETag", `"`+found.sum[:32]+`"`) // as S3: not the hash
		h.send(w, r, Store, found)
	}
}
