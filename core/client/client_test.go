package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/client"
)

// serve returns the address of a server that answers with f.
func serve(t *testing.T, f http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return s.URL
}

// Whoever answers at an address is a stranger until it has said who it is.
func TestHealthSendsNoToken(t *testing.T) {
	got := map[string]string{}
	c := client.New(serve(t, func(w http.ResponseWriter, r *http.Request) {
		got[r.URL.Path] = r.Header.Get("Authorization")
		_, _ = io.WriteString(w, "{}")
	}), client.Options{Token: "secret"})
	if _, err := c.Health(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Hives(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got["/health"] != "" || got["/v2/hives"] != "Bearer secret" {
		t.Errorf("tokens sent: %q", got)
	}
}

// A server that accepts and says nothing holds nobody up.
func TestLimit(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c := client.New("http://"+ln.Addr().String(), client.Options{Limit: 20 * time.Millisecond})
	r, w := io.Pipe()
	defer w.Close()
	calls := map[string]func(context.Context) error{
		"call":     func(ctx context.Context) error { _, err := c.Workers(ctx); return err },
		"callback": func(ctx context.Context) error { return c.WorkerReady(ctx, "mac", api.WorkerReady{}) },
		"lease":    func(ctx context.Context) error { _, err := c.Lease(ctx, "x", r); return err },
	}
	for name, f := range calls {
		done := make(chan error, 1)
		go func() { done <- f(t.Context()) }()
		select {
		case err := <-done:
			if !errors.Is(err, core.ConnectionTimeout) {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s hangs", name)
		}
	}
}

func TestUnreachable(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	if _, err := client.New(gone.URL, client.Options{}).Workers(t.Context()); !errors.Is(err, core.NodeUnreachable) {
		t.Errorf("nobody there: %v", err)
	}
}

// A lease outlives the call that began it, and ends with its stream.
func TestLease(t *testing.T) {
	ended := make(chan struct{})
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex()
		w.WriteHeader(http.StatusOK)
		_ = rc.Flush()
		_, _ = io.Copy(io.Discard, r.Body)
	})
	r, w := io.Pipe()
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	held, err := client.New(url, client.Options{}).Lease(ctx, "x", r)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := w.Write([]byte("still held")); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
		t.Fatal("the lease ended with the call")
	default:
	}
	held.Close()
	<-ended
}

func TestTrace(t *testing.T) {
	var got http.Header
	c := client.New(serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		_, _ = io.WriteString(w, "{}")
	}), client.Options{})
	at := time.UnixMilli(1_700_000_000_123)
	ctx := client.WithTrace(t.Context(), client.Trace{Correlation: "abc", Parent: "00-1-2-01", Deadline: at})
	if _, err := c.Hives(ctx); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{api.HeaderCorrelation: "abc", api.HeaderParent: "00-1-2-01", api.HeaderDeadline: "1700000000123"}
	for name, v := range want {
		if got.Get(name) != v {
			t.Errorf("%s: %q, want %q", name, got.Get(name), v)
		}
	}
}
