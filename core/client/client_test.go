package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
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

// streamer serves answers that are complete at once, and counts the connections.
func streamer(t *testing.T) (s *httptest.Server, dialled *atomic.Int64) {
	t.Helper()
	dialled = &atomic.Int64{}
	s = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, sent := r.Header["Idempotency-Key"]; sent {
			t.Error("the key was sent")
		}
		out := api.NewStream(w)
		_ = out.Send(&api.Token{Text: "a", Index: 3})
		_ = out.Done()
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			dialled.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s, dialled
}

// answers is what a worker says, as one passes it on.
func answers(t *testing.T, c *client.Client) (all []api.Event) {
	t.Helper()
	for ev, err := range c.ExecuteSealed(t.Context(), api.ExecuteRequest{JobID: "j"}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, ev.Event)
	}
	return all
}

// An answer that was read to its end leaves the connection to the next.
func TestExecuteKeepsConnection(t *testing.T) {
	s, dialled := streamer(t)
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return bytewise{c}, err
	}
	hive := client.New("http://hive", client.Options{Token: "of the hive", DialContext: dial})
	defer hive.Close()
	for range 3 {
		all := answers(t, hive.At(s.URL, ""))
		if len(all) != 1 {
			t.Fatalf("events: %v", all)
		}
		tok, err := all[0].(*api.Sealed).Token()
		if err != nil || tok.Text != "a" || tok.Index != 3 {
			t.Errorf("token: %+v, %v", tok, err)
		}
	}
	if n := dialled.Load(); n != 1 {
		t.Errorf("%d connections for three answers, want 1", n)
	}
}

// A bytewise connection has the last message read before the end of the answer is there.
type bytewise struct{ net.Conn }

func (b bytewise) Read(p []byte) (int, error) { return b.Conn.Read(p[:min(len(p), 1)]) }

// A kept connection that is dead, which only shows in the use of it, costs nobody the answer.
func TestExecuteOnDeadConnection(t *testing.T) {
	s, _ := streamer(t)
	var dials atomic.Int64
	hang := make(chan struct{})
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		if dials.Add(1) > 1 || err != nil {
			return c, err
		}
		return &dying{Conn: c, hang: hang}, nil
	}
	c := client.New(s.URL, client.Options{DialContext: dial})
	defer c.Close()
	answers(t, c)
	close(hang)
	if all := answers(t, c); len(all) != 1 || dials.Load() != 2 {
		t.Errorf("%d events, %d dials; want 1 and 2", len(all), dials.Load())
	}
}

// A dying connection swallows what is written after hang is closed, and is reset then.
type dying struct {
	net.Conn
	hang chan struct{}
}

func (d *dying) Write(b []byte) (int, error) {
	select {
	case <-d.hang:
		return len(b), d.Close()
	default:
		return d.Conn.Write(b)
	}
}
