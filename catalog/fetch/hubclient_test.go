package fetch_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"rbee/catalog/fetch"
	"rbee/core"
)

// tokenAt is the token that a target gets of an endpoint's client whom the endpoint
// leads there.
func tokenAt(t *testing.T, endpoint, target string) string {
	t.Helper()
	c, err := fetch.NewClient(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, endpoint+"/go?to="+target, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer sesame")
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.Header.Get("X-Got")
}

// leading redirects to what the query names, and answers with the token elsewhere.
func leading(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/go" {
		w.Header().Set("Location", r.URL.Query().Get("to"))
		w.WriteHeader(http.StatusFound)
		return
	}
	w.Header().Set("X-Got", r.Header.Get("Authorization"))
}

func TestTokenStaysAtTheHub(t *testing.T) {
	hub := httptest.NewServer(http.HandlerFunc(leading))
	defer hub.Close()
	other := httptest.NewServer(http.HandlerFunc(leading))
	defer other.Close()
	tests := map[string]struct{ target, want string }{
		"the same host":                    {"/there", "Bearer sesame"},
		"another port of the same host":    {other.URL + "/there", ""},
		"another name of the same machine": {strings.Replace(hub.URL, "127.0.0.1", "localhost", 1) + "/there", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tokenAt(t, hub.URL, tt.target); got != tt.want {
				t.Errorf("got the token %q, want %q", got, tt.want)
			}
		})
	}
}

// A hub out in the world must not lead into the network that we are in. Here the
// world's hub is a proxy that stands for it.
func TestRedirectsRefused(t *testing.T) {
	hub := httptest.NewServer(http.HandlerFunc(leading))
	defer hub.Close()
	guard := fetch.GuardOf("https://hub.example")
	tests := map[string]struct{ target, says string }{
		"this machine":        {"https://127.0.0.1/x", "on a private network"},
		"by name":             {"https://localhost:8080/x", "on a private network"},
		"by name, dotted":     {"https://a.localhost./x", "on a private network"},
		"a private network":   {"https://10.1.2.3/x", "on a private network"},
		"the cloud's secrets": {"https://169.254.169.254/latest", "on a private network"},
		"an overlay network":  {"https://100.100.1.1/x", "on a private network"},
		"of the new kind":     {"https://[fd00::1]/x", "on a private network"},
		"the old in the new":  {"https://[::ffff:192.168.0.1]/x", "on a private network"},
		"nowhere":             {"https://0.0.0.0/x", "on a private network"},
		"http":                {"http://cdn.example/x", "by http, want https"},
		"a file":              {"file:///etc/passwd", "by file, want https"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, tt.target, http.NoBody)
			checkFault(t, guard.Redirect(r, 1), core.DownloadFailed, "hub.example leads to ", tt.says, "HF_ENDPOINT")
		})
	}
	fine := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://cdn.example/x", http.NoBody)
	if err := guard.Redirect(fine, 1); err != nil {
		t.Errorf("a host of the world: %v", err)
	}
	checkFault(t, guard.Redirect(fine, 10), core.DownloadFailed, "after 10 redirects")
}

// A name that stands for a private address is found out when it is dialled; the
// endpoint's own may be one, and then others may, too.
func TestDialRefused(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(leading))
	defer server.Close()
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	there := "localhost:" + port // a name, for which the system has an address
	world := fetch.GuardOf("https://hub.example")
	_, err = world.Dial(t.Context(), there)
	checkFault(t, err, core.DownloadFailed, "hub.example leads to "+there, "private network")
	ours := fetch.GuardOf("http://" + there)
	conn, err := ours.Dial(t.Context(), there)
	if err != nil {
		t.Fatalf("the endpoint itself: %v", err)
	}
	conn.Close()
	if conn, err = ours.Dial(t.Context(), server.Listener.Addr().String()); err != nil {
		t.Fatalf("beside an endpoint on a private network: %v", err)
	}
	conn.Close()
}

// Through a proxy, which may be anywhere, the same holds.
func TestProxy(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(leading)) // it answers itself, for all hosts
	defer proxy.Close()
	at, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := fetch.ClientThrough("http://hub.example", at)
	defer c.CloseIdleConnections()
	tests := map[string]struct{ target, token, says string }{
		"the hub":         {"/there", "Bearer sesame", ""},
		"another host":    {"http://cdn.example/there", "", ""},
		"a private one":   {"http://192.168.1.1/there", "", "leads to 192.168.1.1, which is on a private network"},
		"the proxy's own": {proxy.URL + "/there", "", "which is on a private network"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://hub.example/go?to="+tt.target, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer sesame")
			resp, err := c.Do(r)
			if err != nil {
				if tt.says == "" || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("got %v, want %q", err, tt.says)
				}
				return
			}
			defer resp.Body.Close()
			if got := resp.Header.Get("X-Got"); got != tt.token || tt.says != "" {
				t.Errorf("got an answer to the token %q, want %q, %q", got, tt.token, tt.says)
			}
		})
	}
}

// A hub that does not answer is given up in time, and tried again.
func TestSilentHub(t *testing.T) {
	hub := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer hub.Close()
	transport := &http.Transport{ResponseHeaderTimeout: time.Millisecond}
	defer transport.CloseIdleConnections()
	c, err := fetch.NewHub(fetch.HubOptions{Endpoint: hub.URL, HTTP: &http.Client{Transport: transport}, Pause: 1})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Resolve(t.Context(), core.Hub{Repo: "org/repo"}, fetch.Room{})
	checkFault(t, err, core.DownloadTimeout, "hf:org/repo: 127.0.0.1", "no answer in time")
}

// Who asked may leave at any time.
func TestResolveEndsWithItsContext(t *testing.T) {
	gone := errors.New("gone")
	ctx, leave := context.WithCancelCause(t.Context())
	hub := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		leave(gone)
		<-r.Context().Done()
	}))
	defer hub.Close()
	c, err := fetch.NewHub(fetch.HubOptions{Endpoint: hub.URL})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Resolve(ctx, core.Hub{Repo: "org/repo"}, fetch.Room{}); !errors.Is(err, gone) {
		t.Errorf("got %v, want that the asker is gone", err)
	}
}

// A hub behind a redirect that is refused is not asked six times.
func TestRefusedOnce(t *testing.T) {
	h := newFakeHub(t, map[string][]byte{"m-Q4_0.gguf": model("llama", mega)})
	h.answer = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/resolve/") {
			return false
		}
		http.Redirect(w, r, "ftp://elsewhere.example/secret", http.StatusFound)
		return true
	}
	_, err := h.client(t).Resolve(t.Context(), core.Hub{Repo: "org/repo"}, fetch.Room{})
	checkFault(t, err, core.DownloadFailed, "leads to elsewhere.example by ftp")
	if n := len(h.requests()); n != 2 {
		t.Errorf("%d requests, want 2: %q", n, h.requests())
	}
}

// What no hub answers is said without the address, which may be signed.
func TestNoHub(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(leading))
	server.Close()
	c, err := fetch.NewHub(fetch.HubOptions{Endpoint: server.URL, Pause: 1})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Resolve(t.Context(), core.Hub{Repo: "org/repo"}, fetch.Room{})
	checkFault(t, err, core.DownloadFailed, "hf:org/repo: 127.0.0.1", "connection refused", "HF_ENDPOINT")
	if strings.Contains(err.Error(), "/api/") {
		t.Errorf("the address is told: %v", err)
	}
}
