package remote_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"rbee/core"
	"rbee/core/remote"
	"rbee/core/remote/sshdtest"
)

const limit = 10 * time.Second

func dial(t *testing.T, n remote.Node) *remote.Conn {
	t.Helper()
	c, err := remote.Dial(t.Context(), n, limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestDialErrors(t *testing.T) {
	s := sshdtest.Start(t)
	dir := t.TempDir()
	keygen := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, "other"))
	if err := keygen.Run(); err != nil {
		t.Fatal(err)
	}
	pub, _ := os.ReadFile(filepath.Join(dir, "other.pub"))
	changed := filepath.Join(dir, "known_hosts")
	os.WriteFile(changed, fmt.Appendf(nil, "[%s]:%s %s", s.Node.Host, s.Node.Port, pub), 0o600)

	tests := map[string]struct {
		change func(*remote.Node)
		want   core.Kind
	}{
		"wrong key":         {func(n *remote.Node) { n.Keys = []string{filepath.Join(dir, "other")} }, core.SSHAuthFailed},
		"no key":            {func(n *remote.Node) { n.Keys = nil }, core.SSHAuthFailed},
		"unknown host key":  {func(n *remote.Node) { n.KnownHosts = nil }, core.HostKeyUnknown},
		"changed host key":  {func(n *remote.Node) { n.KnownHosts = []string{changed} }, core.HostKeyChanged},
		"nothing listening": {func(n *remote.Node) { n.Port = "1" }, core.NodeUnreachable},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			n := s.Node
			tt.change(&n)
			_, err := remote.Dial(t.Context(), n, limit)
			if !errors.Is(err, tt.want) {
				t.Errorf("Dial: got %v, want %v", err, tt.want)
			}
		})
	}
}

// The line of an unknown key, once accepted, makes the host known.
func TestHostKeyAccepted(t *testing.T) {
	s := sshdtest.Start(t)
	n := s.Node
	n.KnownHosts = []string{filepath.Join(t.TempDir(), "known_hosts")}
	_, err := remote.Dial(t.Context(), n, limit)
	key, ok := errors.AsType[*remote.HostKeyError](err)
	if !ok {
		t.Fatalf("Dial: got %v, want a HostKeyError", err)
	}
	out, err := exec.Command("ssh-keygen", "-lf", filepath.Join(s.Dir, "host.pub")).Output()
	if err != nil || !strings.Contains(string(out), key.Fingerprint) {
		t.Errorf("fingerprint: got %s, ssh-keygen says %s", key.Fingerprint, out)
	}
	os.WriteFile(n.KnownHosts[0], []byte(key.Line+"\n"), 0o600)
	dial(t, n)
}

func TestSilentServer(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() // accepts in its backlog and never says a word
	host, port, _ := net.SplitHostPort(ln.Addr().String())
	began := time.Now()
	_, err = remote.Dial(t.Context(), remote.Node{Host: host, Port: port}, 300*time.Millisecond)
	if took := time.Since(began); !errors.Is(err, core.NodeUnreachable) || took > 5*time.Second {
		t.Errorf("Dial: got %v after %v, want NODE_UNREACHABLE after 300ms", err, took)
	}
}

func TestForwardingForbidden(t *testing.T) {
	c := dial(t, sshdtest.Start(t, "AllowTcpForwarding no").Node)
	if _, err := c.DialContext(t.Context(), "tcp", "127.0.0.1:1"); !errors.Is(err, core.ForwardingForbidden) {
		t.Errorf("DialContext: got %v", err)
	}
	if _, err := c.Reverse(t.Context(), "127.0.0.1:1"); !errors.Is(err, core.ForwardingForbidden) {
		t.Errorf("Reverse: got %v", err)
	}
}

func TestNothingListensThere(t *testing.T) {
	c := dial(t, sshdtest.Start(t).Node)
	_, err := c.DialContext(t.Context(), "tcp", "127.0.0.1:1")
	if err == nil || errors.Is(err, core.ForwardingForbidden) || errors.Is(err, core.NodeUnreachable) {
		t.Errorf("DialContext: got %v, want a plain refusal", err)
	}
}

func TestResolve(t *testing.T) {
	s := sshdtest.Start(t)
	t.Setenv("SSH_AUTH_SOCK", "/nowhere") // the config says: IdentityAgent none
	n, err := remote.Resolve(t.Context(), "node", filepath.Join(s.Dir, "ssh_config"))
	if err != nil || n.Port != s.Node.Port || !n.KeysOnly || n.Agent != "" {
		t.Fatalf("Resolve: got %+v, %v", n, err)
	}
	dial(t, n)
	if _, err := remote.Resolve(t.Context(), "-oProxyCommand=x", ""); err == nil {
		t.Error("Resolve took an option for a name")
	}
}

func TestReverse(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }))
	t.Cleanup(web.Close)
	c := dial(t, sshdtest.Start(t).Node)
	before := runtime.NumGoroutine()
	r, err := c.Reverse(t.Context(), web.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()

	url := fmt.Sprintf("http://127.0.0.1:%d/", r.Port)
	for i := range 100 {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: i%2 == 0}}
		resp, err := client.Post(url, "text/plain", strings.NewReader("hello"))
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		if b, err := io.ReadAll(resp.Body); string(b) != "hello" || err != nil {
			t.Errorf("request %d: got %q, %v", i, b, err)
		}
		resp.Body.Close()
	}
	began := time.Now()
	stop() // with fifty idle connections open
	if err := <-ended; err != nil || time.Since(began) > time.Second {
		t.Errorf("Run: got %v after %v", err, time.Since(began))
	}
	eventually(t, "the port is closed", func() bool {
		conn, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/"))
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	web.CloseClientConnections()
	// The client of x/crypto keeps two for forwards, from the first Listen on.
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before+2 })
}

func BenchmarkTunnelRoundTrip(b *testing.B) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer echo.Close()
	go func() {
		conn, _ := echo.Accept()
		io.Copy(conn, conn)
	}()
	c, err := remote.Dial(b.Context(), sshdtest.Start(b).Node, limit)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	conn, err := c.DialContext(b.Context(), "tcp", echo.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	msg := make([]byte, 64)
	for b.Loop() {
		conn.Write(msg)
		io.ReadFull(conn, msg)
	}
}

// eventually polls for a condition that others bring about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in 10 s not true: %s", what)
		}
	}
}
