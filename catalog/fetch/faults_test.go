package fetch_test

import (
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"rbee/catalog/fetch"
	"rbee/catalog/fetch/hubtest"
	"rbee/core"
)

// The table of faults: the file is right, or the error is. again bounds the bytes that
// are sent more than once.
func TestFaults(t *testing.T) {
	type fault = func(*hubtest.Reply)
	const size = 6*mega + 4711
	all := func(f fault) fault { return hubtest.Between(1, 1000, f) }
	some := func(f fault) fault { return hubtest.Between(1, 4, f) }
	lfs := hubtest.Both(hubtest.Header("X-Linked-Etag", ""), hubtest.Header("X-Linked-Size", ""))
	tests := map[string]struct {
		hub, store fault
		blind      bool // the plan knows neither size nor hash
		uses       int
		wanted     string // token
		again      int64
		stall      time.Duration
		kind       core.Kind
		says       string
	}{
		"drop":                                      {store: hubtest.Nth(1, hubtest.Cut(mega/2+3)), again: mega},
		"drop of every range, twice":                {store: hubtest.Between(1, 12, hubtest.Cut(100_001)), again: 12 * 1024},
		"drop before the first byte":                {store: some(hubtest.Answer(200, "", "Content-Length", "5"))},
		"always dropped, with progress":             {store: all(hubtest.Cut(100_000)), again: 6 * mega},
		"drop at the hub":                           {hub: hubtest.Between(2, 5, hubtest.Answer(502, "bad gateway"))},
		"always dropped, no progress":               {store: all(hubtest.Cut(0)), kind: core.DownloadFailed, says: "the last of 6 tries"},
		"ends early, in chunks":                     {store: hubtest.Nth(2, hubtest.Unlimited(-1000))},
		"stall":                                     {store: hubtest.Nth(2, hubtest.Stall(mega/3)), stall: time.Second, again: 4 * mega},
		"always silent":                             {stall: time.Second / 4, store: all(hubtest.Stall(0)), kind: core.DownloadTimeout, says: "no byte in time"},
		"500 a few times":                           {store: hubtest.Between(1, 5, hubtest.Answer(500, "oops"))},
		"500 for ever":                              {store: all(hubtest.Answer(503, "oops")), kind: core.DownloadFailed, says: "503 Service Unavailable, in the last of 6 tries"},
		"429 with a time":                           {hub: hubtest.Between(1, 2, hubtest.Answer(429, "slow down", "Retry-After", "0"))},
		"429 with a bad time":                       {hub: hubtest.Between(1, 2, hubtest.Answer(429, "slow down", "Retry-After", "soon"))},
		"wrong bytes once":                          {store: hubtest.Nth(2, hubtest.Garbled), again: size},
		"wrong bytes for ever":                      {store: all(hubtest.Garbled), kind: core.DownloadFailed, says: "its SHA-256 is"},
		"shorter than promised":                     {store: all(hubtest.Length(-10)), kind: core.DownloadFailed, says: "bytes"},
		"longer than promised":                      {store: all(hubtest.Length(10)), kind: core.DownloadFailed, says: "bytes"},
		"another length once":                       {store: hubtest.Nth(3, hubtest.Length(10)), again: mega},
		"more than it says":                         {store: hubtest.Nth(2, hubtest.Unlimited(100)), again: 100},
		"no ranges":                                 {store: all(hubtest.Whole)},
		"no ranges, in chunks":                      {store: all(hubtest.Both(hubtest.Whole, hubtest.Chunked))},
		"no ranges, longer":                         {store: all(hubtest.Both(hubtest.Whole, hubtest.Unlimited(10))), again: 10},
		"no ranges, and a drop":                     {store: hubtest.Both(all(hubtest.Whole), hubtest.Nth(1, hubtest.Cut(3*mega))), again: 3 * mega},
		"200 in the middle":                         {store: hubtest.Nth(4, hubtest.Whole), again: 7 * mega},
		"wrong Content-Range":                       {store: hubtest.Between(1, 3, hubtest.WrongRange), again: 3 * mega},
		"wrong Content-Range for ever":              {store: all(hubtest.WrongRange), kind: core.DownloadFailed, says: "asked for"},
		"no Content-Range":                          {store: some(hubtest.Header("Content-Range", "")), again: 4 * mega},
		"signed for one use":                        {uses: 1, store: hubtest.Nth(2, hubtest.Cut(1000)), again: mega},
		"403 of the store":                          {store: some(hubtest.Answer(403, "expired"))},
		"404 of the store":                          {store: some(hubtest.Answer(404, "gone"))},
		"403 of the store for ever":                 {store: all(hubtest.Answer(403, "expired")), kind: core.DownloadFailed, says: "403 Forbidden"},
		"401 of the hub":                            {wanted: "sesame", kind: core.ModelGated},
		"403 of the hub":                            {hub: all(hubtest.Answer(403, "no")), kind: core.ModelGated, says: "does not give"},
		"404 of the hub":                            {hub: all(hubtest.Answer(404, "no")), kind: core.ModelNotFound, says: name},
		"400 of the hub":                            {hub: all(hubtest.Answer(400, "no")), kind: core.DownloadFailed, says: "400"},
		"redirect to another scheme":                {hub: all(hubtest.Redirect("ftp://example.com/")), kind: core.DownloadFailed, says: "ftp"},
		"redirects in a circle":                     {hub: all(hubtest.Redirect("/org/repo/resolve/main/" + name)), kind: core.DownloadFailed},
		"another file now":                          {hub: all(hubtest.Header("X-Linked-Etag", `"`+strings.Repeat("ab", 32)+`"`)), kind: core.DownloadFailed, says: "abab"},
		"blind":                                     {blind: true},
		"blind, drop":                               {blind: true, store: hubtest.Nth(1, hubtest.Cut(mega/2)), again: mega},
		"blind, wrong bytes":                        {blind: true, store: hubtest.Nth(1, hubtest.Garbled), again: size},
		"blind, a hub that says little":             {blind: true, hub: all(lfs)},
		"blind, a hub that says little, drop":       {blind: true, hub: all(lfs), store: hubtest.Nth(1, hubtest.Cut(mega/2)), again: mega},
		"blind, no validator, drop":                 {blind: true, hub: all(lfs), store: hubtest.Both(all(hubtest.Header("ETag", "")), hubtest.Nth(2, hubtest.Cut(mega/2))), again: size},
		"blind, no ranges, no length":               {blind: true, hub: all(lfs), store: all(hubtest.Both(hubtest.Whole, hubtest.Chunked))},
		"blind, longer than the hub says":           {blind: true, store: all(hubtest.Length(10)), kind: core.DownloadFailed, says: "bytes"},
		"blind, more than it says, then not":        {blind: true, hub: all(lfs), store: hubtest.Nth(2, hubtest.Unlimited(100)), again: size + 100},
		"blind, the ETag is another in each answer": {blind: true, hub: all(lfs), store: func(r *hubtest.Reply) { r.Header.Set("ETag", time.Now().String()) }, kind: core.DownloadFailed, says: "changed"},
	}
	for what, tt := range tests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			hub := hubtest.New(t)
			data := content(2, size)
			hub.Add(repo, name, data)
			hub.Want(tt.wanted)
			hub.SignFor(tt.uses)
			for place, f := range map[hubtest.Place]fault{hubtest.Resolve: tt.hub, hubtest.Store: tt.store} {
				if f != nil {
					hub.Fault(place, f)
				}
			}
			o := quick(t, hub)
			o.Stall = tt.stall
			plan := planOf(hub, data)
			if tt.blind {
				plan = blind(hub)
			}
			results, err := fetch.New(o).Fetch(t.Context(), plan, nil)
			if tt.kind != "" {
				refused(t, o.Dir, err, tt.kind, tt.says)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			same(t, o.Dir, results, data)
			// What was on the way when a range ended is sent again, and not more.
			if again := hub.Served(name) - size; again > tt.again {
				t.Errorf("%d bytes were sent again, want at most %d", again, tt.again)
			}
		})
	}
}

// refused fails the test unless err is a fault of the kind and dir has no whole file.
func refused(t *testing.T, dir string, err error, kind core.Kind, says string) {
	t.Helper()
	if f, ok := errors.AsType[*core.Fault](err); !ok || core.KindOf(err) != kind || !strings.Contains(f.What, says) || f.Try == "" {
		t.Errorf("got %v (%s), want a %s that says %q", err, core.KindOf(err), kind, says)
	}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".gguf") {
			t.Errorf("%s is there", e.Name())
		}
	}
}

// A token goes to the hub and not to where it leads.
func TestTokenOfFiles(t *testing.T) {
	hub := hubtest.New(t)
	data := content(3, 2*mega)
	hub.Add(repo, name, data)
	hub.Want("sesame")
	o := quick(t, hub)
	plan := planOf(hub, data)
	plan.Files[0].Source = source(hub, name, "sesame")
	results, err := fetch.New(o).Fetch(t.Context(), plan, nil)
	if err != nil {
		t.Fatal(err)
	}
	same(t, o.Dir, results, data)
	if leaks := hub.Leaks(); len(leaks) > 0 {
		t.Errorf("the token was sent to the store: %v", leaks)
	}
}

// A hub on the internet may not lead to this machine.
func TestRedirectToPrivate(t *testing.T) {
	hub := hubtest.New(t)
	data := content(3, mega)
	hub.Add(repo, name, data)
	o := quick(t, hub)
	client, err := fetch.NewClient("https://huggingface.co")
	if err != nil {
		t.Fatal(err)
	}
	plan := planOf(hub, data)
	plan.HTTP = client
	plan.Files[0].Source = source(hub, name, "")
	_, err = fetch.New(o).Fetch(t.Context(), plan, nil)
	refused(t, o.Dir, err, core.DownloadFailed, "private network")
	if n := hub.Requests(hubtest.Resolve, name); n != 0 {
		t.Errorf("%d requests, want none", n)
	}
}

// A file that changes while it is fetched is not mixed from both.
func TestChangedMidway(t *testing.T) {
	for what, sameSize := range map[string]bool{"size": false, "content": true} {
		t.Run(what, func(t *testing.T) {
			hub := hubtest.New(t)
			one, two := content(4, 6*mega), content(5, 5*mega)
			if sameSize {
				two = content(5, 6*mega)
			}
			hub.Add(repo, name, one)
			hub.Fault(hubtest.Resolve, hubtest.Both(hubtest.Header("X-Linked-Etag", ""), hubtest.Header("X-Linked-Size", "")))
			hub.Fault(hubtest.Store, hubtest.Nth(4, func(r *hubtest.Reply) {
				hub.Add(repo, name, two)
				r.CutAt = 1000
			}))
			o := quick(t, hub)
			results, err := fetch.New(o).Fetch(t.Context(), blind(hub), nil)
			if err != nil {
				t.Fatal(err)
			}
			same(t, o.Dir, results, two)
		})
	}
}

// A broken connection to the hub itself, and none at all.
func TestNoServer(t *testing.T) {
	hub := hubtest.New(t)
	data := content(3, mega)
	hub.Add(repo, name, data)
	o := quick(t, hub)
	o.HTTP = &http.Client{Transport: nobody{}}
	_, err := fetch.New(o).Fetch(t.Context(), planOf(hub, data), nil)
	refused(t, o.Dir, err, core.DownloadFailed, "connection refused, in the last of 6 tries")
}

type nobody struct{}

func (nobody) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("connection refused")
}
