package remote_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rbee/core"
	"rbee/core/lease"
	"rbee/core/remote"
	"rbee/core/remote/sshdtest"
)

// An agent that accepts and says nothing holds a login up no longer than its limit.
func TestSilentAgent(t *testing.T) {
	s := sshdtest.Start(t)
	n := s.Node
	n.Agent = filepath.Join(t.TempDir(), "agent")
	ln, err := net.Listen("unix", n.Agent)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	done := make(chan error, 1)
	go func() { _, err := remote.Dial(t.Context(), n, 300*time.Millisecond); done <- err }()
	select {
	case err := <-done:
		if !errors.Is(err, core.NodeUnreachable) {
			t.Errorf("Dial: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("Dial hangs")
	}
}

// A port of the node where nobody listens is no node that cannot be reached.
func TestRefused(t *testing.T) {
	c := dial(t, sshdtest.Start(t).Node)
	if _, err := c.DialContext(t.Context(), "tcp", "127.0.0.1:1"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("DialContext: %v", err)
	}
}

func TestOutput(t *testing.T) {
	c := dial(t, sshdtest.Start(t).Node)
	got, err := c.Output(t.Context(), []string{"sh", "-c", "echo one; echo 'two  '"})
	if err != nil || string(got) != "one\ntwo  \n" {
		t.Errorf("Output: %q, %v", got, err)
	}
	if _, err := c.Output(t.Context(), []string{"sh", "-c", "exit 3"}); err == nil {
		t.Error("Output of a program that fails: no error")
	}
}

// A network that takes everything and brings nothing is seen by its silence.
func TestWatch(t *testing.T) {
	s := sshdtest.Start(t)
	cut := make(chan struct{})
	c := dial(t, through(t, s, cut, cut))
	ctx, cancel := context.WithCancel(t.Context())
	quiet := make(chan error, 1)
	go func() { quiet <- c.Watch(ctx, time.Millisecond, time.Minute) }()
	cancel()
	if err := <-quiet; err != nil || c.Silent() {
		t.Errorf("Watch of a live connection: %v, silent: %t", err, c.Silent())
	}
	close(cut)
	if err := c.Watch(t.Context(), time.Millisecond, 200*time.Millisecond); !errors.Is(err, core.NodeUnreachable) || !strings.Contains(err.Error(), "no sign of life") {
		t.Errorf("Watch of a cut one: %v", err)
	}
	if !c.Silent() {
		t.Error("the cut connection was not silent")
	}
}

// Who talks is alive, even when our question stands behind a long copy and waits.
func TestWatchHears(t *testing.T) {
	s := sshdtest.Start(t)
	cut := make(chan struct{})
	c := dial(t, through(t, s, cut, nil))
	p := begin(t, c, "echo up; while sleep 0.05; do echo alive >&2; done", lease.Boot{})
	if _, err := p.FirstLine(t.Context()); err != nil {
		t.Fatal(err)
	}
	const lost = 2 * time.Second
	close(cut) // from here to there only
	watched := make(chan error, 1)
	go func() { watched <- c.Watch(t.Context(), time.Millisecond, lost) }()
	select {
	case err := <-watched:
		t.Errorf("Watch of a node that talks: %v", err)
	case <-time.After(2 * lost):
	}
}

// through returns the node as it is reached through a relay, which carries one
// connection. From the close of up on it takes the bytes that go there without
// passing them on, from that of down on those that come back; both stay open.
func through(t *testing.T, s *sshdtest.Server, up, down <-chan struct{}) remote.Node {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	there := net.JoinHostPort(s.Node.Host, s.Node.Port)
	n := s.Node
	n.Host, n.Port, _ = net.SplitHostPort(ln.Addr().String())
	n.KnownHosts = []string{relabel(t, s, there, ln.Addr().String())}
	var copies sync.WaitGroup
	copies.Go(func() {
		here, err := ln.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", there)
		if err != nil {
			here.Close()
			return
		}
		copies.Go(func() { half(far, here, up) })
		half(here, far, down)
	})
	t.Cleanup(func() { ln.Close(); copies.Wait() })
	return n
}

// half copies src to dst until one of them ends, and ends both; after the close of
// cut nothing arrives.
func half(dst, src net.Conn, cut <-chan struct{}) {
	defer dst.Close()
	defer src.Close()
	for buf := make([]byte, 32<<10); ; {
		n, err := src.Read(buf)
		if err != nil {
			return
		}
		select {
		case <-cut:
			continue
		default:
		}
		if _, err := dst.Write(buf[:n]); err != nil {
			return
		}
	}
}

// relabel is the node's known_hosts under another address.
func relabel(t *testing.T, s *sshdtest.Server, from, to string) string {
	t.Helper()
	b, err := os.ReadFile(s.Node.KnownHosts[0])
	if err != nil {
		t.Fatal(err)
	}
	name := func(addr string) string {
		host, port, _ := net.SplitHostPort(addr)
		return "[" + host + "]:" + port
	}
	file := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(file, []byte(strings.Replace(string(b), name(from), name(to), 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
