package fetch_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"rbee/catalog/fetch"
	"rbee/core"
)

const mega = 1 << 20

// What a reference stands for, in repositories as they are found at the hub.
func TestResolve(t *testing.T) {
	q := func(size int) []byte { return model("llama", size) }
	usual := map[string][]byte{
		"README.md": []byte("# a model"), ".gitattributes": nil, "config.json": []byte("{}"),
		"M-1B-Q2_K.gguf": q(2 * mega), "M-1B-Q4_K_M.gguf": q(4 * mega), "M-1B-Q5_K_M.gguf": q(5 * mega), "M-1B-Q8_0.gguf": q(8 * mega),
		"M-1B-UD-Q4_K_XL.gguf": q(4 * mega), "M-1B-IQ4_XS.gguf": q(3 * mega), "mmproj-F16.gguf": q(mega), "M-1B.imatrix.gguf": q(mega),
	}
	parts := map[string][]byte{
		"BF16/M-BF16-00001-of-00002.gguf": q(mega), "BF16/M-BF16-00002-of-00002.gguf": q(mega),
		"Q4_K_M/M-Q4_K_M-00002-of-00003.gguf": q(mega), "Q4_K_M/M-Q4_K_M-00003-of-00003.gguf": q(mega),
		"Q8_0/m-00003-of-00003.gguf": q(mega), "Q8_0/m-00001-of-00003.gguf": q(mega), "Q8_0/m-00002-of-00003.gguf": q(mega),
	}
	two := map[string][]byte{"a-q4_k_m.gguf": q(mega), "b-q4_k_m.gguf": q(mega), "a-q8_0.gguf": q(mega)}
	room := func(bytes int64) fetch.Room { return fetch.Room{Bytes: bytes} }
	tests := map[string]struct {
		files map[string][]byte
		ref   core.Hub
		room  fetch.Room
		want  core.ModelRef
		names []string
		note  string
		kind  core.Kind
		says  []string // of a fault: what, facts, next step
	}{
		"the first of the order":  {files: usual, want: "hf:org/repo:Q4_K_M", names: []string{"M-1B-Q4_K_M.gguf"}, note: "Q4_K_M, the first of Q4_K_M, Q5_K_M, Q4_0, Q8_0, F16 that is there"},
		"and it fits":             {files: usual, room: room(100 * mega), want: "hf:org/repo:Q4_K_M", note: "that is there and fits"},
		"by quantization":         {files: usual, ref: core.Hub{Tag: "IQ4_XS"}, want: "hf:org/repo:IQ4_XS", names: []string{"M-1B-IQ4_XS.gguf"}},
		"of unsloth's kind":       {files: usual, ref: core.Hub{Tag: "UD-Q4_K_XL"}, want: "hf:org/repo:UD-Q4_K_XL", names: []string{"M-1B-UD-Q4_K_XL.gguf"}},
		"by file":                 {files: usual, ref: core.Hub{Tag: "M-1B-Q8_0.gguf"}, want: "hf:org/repo:M-1B-Q8_0.gguf", names: []string{"M-1B-Q8_0.gguf"}},
		"no such quantization":    {files: usual, ref: core.Hub{Tag: "Q4_K_S"}, kind: core.ModelNotFound, says: []string{"hf:org/repo has no Q4_K_S", "available: IQ4_XS Q2_K Q4_K_M Q5_K_M Q8_0 UD-Q4_K_XL", "hf:org/repo:Q4_K_M"}},
		"no such file":            {files: usual, ref: core.Hub{Tag: "M-1B-Q8_1.gguf"}, kind: core.ModelNotFound, says: []string{"has no M-1B-Q8_1.gguf", "files: M-1B-IQ4_XS.gguf ", "hf:org/repo:M-1B-Q8_0.gguf"}},
		"a companion is no model": {files: usual, ref: core.Hub{Tag: "F16"}, kind: core.ModelNotFound},
		"nothing fits":            {files: usual, room: room(4 * mega), kind: core.InsufficientMemory, says: []string{"hf:org/repo:Q4_K_M needs 0.0 GB", "required_bytes: ", "available_bytes: 4194304"}},
		"the chosen is too large": {files: usual, ref: core.Hub{Tag: "Q8_0"}, room: room(8*mega - 1), kind: core.InsufficientMemory, says: []string{"required_bytes: 8388608"}},
		"the chosen just fits":    {files: usual, ref: core.Hub{Tag: "Q8_0"}, room: room(8 * mega), want: "hf:org/repo:Q8_0"},
		"a revision":              {files: usual, ref: core.Hub{Revision: "v2", Tag: "Q8_0"}, want: "hf:org/repo@v2:Q8_0"},

		"parts":                      {files: parts, ref: core.Hub{Tag: "BF16"}, want: "hf:org/repo:BF16", names: []string{"M-BF16-00001-of-00002.gguf", "M-BF16-00002-of-00002.gguf"}},
		"parts, named by the folder": {files: parts, ref: core.Hub{Tag: "Q8_0"}, want: "hf:org/repo:Q8_0", names: []string{"m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"}},
		"by any of its parts":        {files: parts, ref: core.Hub{Tag: "Q8_0/m-00002-of-00003.gguf"}, want: "hf:org/repo:Q8_0/m-00002-of-00003.gguf", names: []string{"m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"}},
		"a part is missing":          {files: parts, ref: core.Hub{Tag: "Q4_K_M"}, kind: core.ModelNotFound, says: []string{"Q4_K_M/M-Q4_K_M-00002-of-00003.gguf the repository lacks 1"}},
		"the next, as one is broken": {files: parts, want: "hf:org/repo:Q8_0"},

		"two of a kind":           {files: two, ref: core.Hub{Tag: "Q4_K_M"}, kind: core.Invalid, says: []string{"2 models that are Q4_K_M", "files: a-q4_k_m.gguf b-q4_k_m.gguf", "name the file: hf:org/repo:a-q4_k_m.gguf"}},
		"two of a kind, no other": {files: map[string][]byte{"a-q4_k_m.gguf": q(mega), "b-q4_k_m.gguf": q(mega)}, kind: core.Invalid, says: []string{"2 models that are Q4_K_M", "name the file: hf:org/repo:a-q4_k_m.gguf"}},
		"the next, as two are":    {files: two, want: "hf:org/repo:Q8_0"},
		"only one, MXFP4":         {files: map[string][]byte{"g-mxfp4.gguf": q(mega)}, want: "hf:org/repo:MXFP4", note: "the only model of the repository"},
		"only one, unnamed":       {files: map[string][]byte{"g.gguf": q(mega)}, want: "hf:org/repo:g.gguf", note: "the only model of the repository"},
		"no name for a reference": {files: map[string][]byte{"my model.gguf": q(mega)}, kind: core.Unsupported, says: []string{`its file "my model.gguf" cannot be written`, "give its path"}},
		"none of the order":       {files: map[string][]byte{"g-Q2_K.gguf": q(mega), "g-Q3_K_S.gguf": q(mega)}, kind: core.ModelNotFound, says: []string{"has none of Q4_K_M, ", "available: Q2_K Q3_K_S", "hf:org/repo:Q2_K"}},
		"F16 by another name":     {files: map[string][]byte{"g-fp16.gguf": q(mega), "g-q2_k.gguf": q(mega)}, want: "hf:org/repo:F16"},

		"no GGUF at all":     {files: map[string][]byte{"model.safetensors": nil, "mmproj-F16.gguf": q(9)}, kind: core.Unsupported, says: []string{"has no GGUF file of a model, only safetensors", "-GGUF"}},
		"of no use":          {files: map[string][]byte{"m-Q4_0.gguf": model("mamba", mega)}, kind: core.Unsupported, says: []string{`hf:org/repo:Q4_0: architecture "mamba" is not supported, only: bert`}},
		"no GGUF by content": {files: map[string][]byte{"m-Q4_0.gguf": []byte(strings.Repeat("<html>", 9999))}, kind: core.Unsupported, says: []string{"m-Q4_0.gguf is no usable GGUF file"}},
		"no such repository": {files: usual, ref: core.Hub{Repo: "org/other"}, kind: core.ModelNotFound, says: []string{"hf:org/other is not at 127.0.0.1", "HF_TOKEN"}},
		"cut off at the hub": {files: map[string][]byte{"m-Q4_0.gguf": q(0)[:40]}, kind: core.Unsupported, says: []string{"is cut off"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := newFakeHub(t, tt.files)
			h.perPage = 3
			if tt.ref.Repo == "" {
				tt.ref.Repo = "org/repo"
			}
			p, err := h.client(t).Resolve(t.Context(), tt.ref, tt.room)
			if tt.kind != "" {
				checkFault(t, err, tt.kind, tt.says...)
				return
			}
			if err != nil || p.Ref != tt.want || !strings.Contains(p.Note, tt.note) || p.Revision != commit {
				t.Fatalf("got %s, revision %q, note %q, %v; want %s, note %q", p.Ref, p.Revision, p.Note, err, tt.want, tt.note)
			}
			var names []string
			for _, f := range p.Files {
				names = append(names, f.Name)
			}
			if tt.names != nil && !slices.Equal(names, tt.names) {
				t.Errorf("got the files %q, want %q", names, tt.names)
			}
		})
	}
}

// checkFault checks a fault and what it says to a person.
func checkFault(t *testing.T, err error, kind core.Kind, says ...string) {
	t.Helper()
	f := core.FaultOf(err)
	if err == nil || f.Kind != kind {
		t.Fatalf("got %v, want %s", err, kind)
	}
	text := f.What + "\n"
	for _, fact := range f.Facts {
		text += fact.Name + ": " + fact.Value + "\n"
	}
	text += f.Try
	for _, want := range says {
		if !strings.Contains(text, want) {
			t.Errorf("the fault does not say %q:\n%s", want, text)
		}
	}
}

// A larger quantization that fits is taken when a smaller one of the order does not:
// there is none in real life, but the note then says why.
func TestResolveSaysWhatDidNotFit(t *testing.T) {
	h := newFakeHub(t, map[string][]byte{"m-Q4_K_M.gguf": model("llama", 60*mega), "m-Q4_0.gguf": model("llama", 10*mega)})
	c := h.client(t)
	room := fetch.Room{Bytes: 40 * mega}
	p, err := c.Resolve(t.Context(), core.Hub{Repo: "org/repo"}, room)
	if err != nil || p.Ref != "hf:org/repo:Q4_0" || p.Note != "Q4_0: hf:org/repo:Q4_K_M needs 0.1 GB of memory, 0.0 GB are there" {
		t.Errorf("got %s, %q, %v", p.Ref, p.Note, err)
	}
	room.Slots = 64 // of 2048 tokens, 1 KiB each, are 128 MiB
	_, err = c.Resolve(t.Context(), core.Hub{Repo: "org/repo"}, room)
	checkFault(t, err, core.InsufficientMemory, "hf:org/repo:Q4_0 needs")
	room.Context = 64
	if p, err := c.Resolve(t.Context(), core.Hub{Repo: "org/repo"}, room); err != nil || p.Ref != "hf:org/repo:Q4_0" {
		t.Errorf("in a small context: got %s, %v", p.Ref, err)
	}
}

// Of a model whose header says too little, a tenth more than its files is reckoned.
func TestResolveByFileSize(t *testing.T) {
	content := bytes.Replace(model("llama", 10*mega), []byte("llama.block_count"), []byte("llama.block_other"), 1)
	h := newFakeHub(t, map[string][]byte{"m-Q4_0.gguf": content})
	for room, kind := range map[int64]core.Kind{11 * mega: "", 11*mega - 1: core.InsufficientMemory} {
		if _, err := h.client(t).Resolve(t.Context(), core.Hub{Repo: "org/repo"}, fetch.Room{Bytes: room}); kind == "" && err != nil || kind != "" && !errors.Is(err, kind) {
			t.Errorf("in %d bytes: got %v, want %q", room, err, kind)
		}
	}
}

// A plan's files say where they are, of which state of the repository, and what they
// hold; the token goes to the hub and nowhere else.
func TestPlanFiles(t *testing.T) {
	content := model("llama", 3*mega)
	h := newFakeHub(t, map[string][]byte{"dir one/m#1-Q4_0.gguf": content})
	c := h.client(t)
	p, err := c.Resolve(t.Context(), core.Hub{Repo: "org/repo", Revision: "refs/pr/1"}, fetch.Room{})
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	f := p.Files[0]
	if f.Name != "m#1-Q4_0.gguf" || f.Size != 3*mega || f.SHA256 != hex.EncodeToString(sum[:]) || p.From != strings.TrimPrefix(h.hub.URL, "http://") {
		t.Errorf("got %+v from %s", f, p.From)
	}
	r, err := f.Source(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, err := io.ReadAll(resp.Body); err != nil || sha256.Sum256(got) != sum {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	want := []string{
		"GET /api/models/org/repo/tree/refs%2Fpr%2F1", "GET /org/repo/resolve/refs%2Fpr%2F1/dir%20one/m%231-Q4_0.gguf", "GET /dir%20one/m%231-Q4_0.gguf",
		"GET /org/repo/resolve/" + commit + "/dir%20one/m%231-Q4_0.gguf", "GET /dir%20one/m%231-Q4_0.gguf",
	}
	if got := h.requests(); !slices.Equal(got, want) {
		t.Errorf("requests:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, r := range h.seen {
		token, ofHub := r.Header.Get("Authorization"), r.Host == p.From
		if ofHub != (token == "Bearer sesame") || !ofHub && token != "" {
			t.Errorf("%s %s got the token %q", r.Host, r.URL.Path, token)
		}
	}
}

// A look into a file takes little of it.
func TestPeekReadsLittle(t *testing.T) {
	h := newFakeHub(t, map[string][]byte{"m-Q4_0.gguf": model("llama", 64*mega)})
	if _, err := h.client(t).Resolve(t.Context(), core.Hub{Repo: "org/repo"}, fetch.Room{}); err != nil {
		t.Fatal(err)
	}
	last := h.seen[len(h.seen)-1]
	if got := last.Header.Get("Range"); got != "bytes=0-1048575" {
		t.Errorf("asked for %q, want the first MiB", got)
	}
}

func TestRefusals(t *testing.T) {
	tests := map[string]struct {
		status  int
		code    string
		message string
		of      string // path that is refused
		token   string
		kind    core.Kind
		says    []string
		tries   int
	}{
		"gated files":           {401, "GatedRepo", "Access to model org/repo is restricted.", "/resolve/", "", core.ModelGated, []string{"does not give hf:org/repo:Q4_0 to everybody", "Access to model", "/org/repo, make a token", "set HF_TOKEN"}, 1},
		"gated, with a token":   {403, "GatedRepo", "", "/resolve/", "x", core.ModelGated, []string{"as the owner of HF_TOKEN"}, 1},
		"a bad token":           {401, "", "Invalid credentials in Authorization header", "/tree/", "x", core.ModelGated, []string{"Invalid credentials", "HF_TOKEN"}, 1},
		"not there, said so":    {401, "RepoNotFound", "Repository not found", "/tree/", "", core.ModelNotFound, []string{"hf:org/repo is not at", "or is private"}, 1},
		"no such revision":      {404, "RevisionNotFound", "Invalid rev id: v9", "/tree/", "", core.ModelNotFound, []string{"hf:org/repo has no revision v9"}, 1},
		"no such entry":         {404, "EntryNotFound", "Entry not found", "/resolve/", "", core.ModelNotFound, []string{"has no file m-Q4_0.gguf"}, 1},
		"too many requests":     {429, "", "", "/tree/", "", core.DownloadFailed, []string{"429 Too Many Requests", "later"}, 6},
		"a broken hub":          {503, "", "", "/tree/", "", core.DownloadFailed, []string{"503 Service Unavailable"}, 6},
		"a request it dislikes": {400, "", "no", "/tree/", "", core.DownloadFailed, []string{"400 Bad Request", "no"}, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := newFakeHub(t, map[string][]byte{"m-Q4_0.gguf": model("llama", mega)})
			asked := 0
			h.answer = func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, tt.of) {
					return false
				}
				asked++
				w.Header().Set("X-Error-Code", tt.code)
				w.Header().Set("X-Error-Message", tt.message)
				w.WriteHeader(tt.status)
				return true
			}
			c, err := fetch.NewHub(fetch.HubOptions{Endpoint: h.hub.URL, Token: tt.token, Pause: 1})
			if err != nil {
				t.Fatal(err)
			}
			ref := core.Hub{Repo: "org/repo"}
			if tt.code == "RevisionNotFound" {
				ref.Revision = "v9"
			}
			_, err = c.Resolve(t.Context(), ref, fetch.Room{})
			checkFault(t, err, tt.kind, tt.says...)
			if asked != tt.tries {
				t.Errorf("asked %d times, want %d", asked, tt.tries)
			}
		})
	}
}

// What breaks off is asked for again.
func TestResolveTriesAgain(t *testing.T) {
	h := newFakeHub(t, map[string][]byte{"m-Q4_0.gguf": model("llama", mega)})
	var mu sync.Mutex // guards asked
	asked := map[string]int{}
	h.answer = func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		asked[r.URL.Path]++
		n := asked[r.URL.Path]
		mu.Unlock()
		switch n {
		case 1:
			w.WriteHeader(http.StatusBadGateway)
		case 2:
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte(`[{"type":`))
			panic(http.ErrAbortHandler)
		case 3:
			if strings.Contains(r.URL.Path, "/resolve/") {
				return false
			}
			_, _ = w.Write([]byte(`{"error":"in a form of its own"}`))
		default:
			return false
		}
		return true
	}
	p, err := h.client(t).Resolve(t.Context(), core.Hub{Repo: "org/repo"}, fetch.Room{})
	if err != nil || len(p.Files) != 1 {
		t.Errorf("got %+v, %v; after %v", p, err, asked)
	}
}

// A hub that says when to ask again is heard.
func TestRetryAfter(t *testing.T) {
	h := newFakeHub(t, map[string][]byte{"m-Q4_0.gguf": model("llama", mega)})
	h.answer = func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Retry-After", "61")
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	}
	ctx, cancel := context.WithCancel(t.Context())
	said := &firstLine{then: cancel}
	c, err := fetch.NewHub(fetch.HubOptions{Endpoint: h.hub.URL, Pause: 1, Log: slog.New(slog.NewTextHandler(said, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Resolve(ctx, core.Hub{Repo: "org/repo"}, fetch.Room{}); !errors.Is(err, context.Canceled) || !strings.Contains(said.text, "wait=1m1s") {
		t.Errorf("got %v, and the log %q", err, said.text)
	}
}

// A firstLine keeps what is written first, and then does something.
type firstLine struct {
	text string
	then func()
}

func (f *firstLine) Write(b []byte) (int, error) {
	if f.text == "" {
		f.text = string(b)
		f.then()
	}
	return len(b), nil
}

func TestEndpoints(t *testing.T) {
	for endpoint, ok := range map[string]bool{"": true, "https://mirror.example/hf/": true, "http://127.0.0.1:9": true, "ftp://x": false, "huggingface.co": false, "https://me:pw@x": false, "https://x/?q": false, "http://[": false} {
		_, err := fetch.NewHub(fetch.HubOptions{Endpoint: endpoint})
		if ok != (err == nil) || err != nil && !errors.Is(err, core.Invalid) {
			t.Errorf("%q: got %v", endpoint, err)
		}
	}
}
