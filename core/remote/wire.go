package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"rbee/core"
	"rbee/core/lease"
)

// A wire is what SSH runs over: TCP, a channel of a jump host, or a program.
type wire struct {
	net.Conn

	under   func()        // ends what carries it; may be nil
	words   func() string // what a program says of its failure; may be nil
	heard   atomic.Int64  // when the other side was last heard, in ns since 1970
	closing sync.Once
	err     error // of Close
}

// wire connects to where the node's sshd listens. via is the connection to its
// jump host, which is the wire's own from now on.
func (n Node) wire(ctx context.Context, via *Conn) (*wire, error) {
	if via != nil {
		return n.through(ctx, via)
	}
	if n.Proxy != "" {
		return n.byProgram()
	}
	tcp, err := new(net.Dialer).DialContext(ctx, "tcp", n.addr())
	if unknown, ok := errors.AsType[*net.DNSError](err); ok && unknown.IsNotFound {
		return nil, &core.Fault{
			Kind: core.NodeNotFound, What: fmt.Sprintf("node %s: there is no host %s", n.label(), n.Host), Cause: err,
			Try: "rbee node add NAME, or a Host in ~/.ssh/config",
		}
	}
	if err != nil {
		return nil, n.unreachable(err)
	}
	return &wire{Conn: tcp}, nil
}

// through opens a channel of the jump host.
func (n Node) through(ctx context.Context, via *Conn) (*wire, error) {
	ch, err := via.DialContext(ctx, "tcp", n.addr())
	if err == nil {
		return &wire{Conn: ch, under: func() { _ = via.Close() }}, nil
	}
	_ = via.Close()
	if errors.Is(err, core.ForwardingForbidden) {
		return nil, &core.Fault{
			Kind: core.ForwardingForbidden, What: fmt.Sprintf("jump host %s forbids to pass through it to %s", via.node.label(), n.label()),
			Try: "AllowTcpForwarding yes in its sshd_config", Cause: err,
		}
	}
	return nil, n.unreachable(err)
}

// byProgram runs the ProxyCommand. Its stdin and stdout are one socket, so what it
// is cut off from by our end, of whatever kind, is an end of file to it. Close ends
// it and all that it started, and waits for it.
func (n Node) byProgram() (*wire, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, n.unreachable(err)
	}
	unix.CloseOnExec(pair[0])
	unix.CloseOnExec(pair[1])
	ours, theirs := os.NewFile(uintptr(pair[0]), "proxy"), os.NewFile(uintptr(pair[1]), "proxy")
	defer ours.Close() // FileConn has a copy
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, n.unreachable(err)
	}
	said := &lease.Tail{}
	cmd := exec.Command("/bin/sh", "-c", "exec "+n.expand(n.Proxy)) //nolint:noctx // it lives as long as the connection
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second // stderr may be held open by what it started
	if err := cmd.Start(); err != nil {
		conn.Close()
		return nil, n.unreachable(err)
	}
	var wait sync.WaitGroup
	wait.Go(func() { _ = cmd.Wait() })
	end := func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		wait.Wait()
	}
	return &wire{Conn: conn, under: end, words: said.Words}, nil
}

// expand puts the node's values in the place of a ProxyCommand's tokens.
func (n Node) expand(command string) string {
	host, port, _ := net.SplitHostPort(n.addr())
	return strings.NewReplacer("%%", "%", "%h", host, "%p", port, "%r", n.User, "%n", n.Alias).Replace(command)
}

// Read notes that the other side was heard.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if n > 0 {
		w.heard.Store(time.Now().UnixNano())
	}
	return n, err
}

// lastHeard is when something was last read, or at if that is later.
func (w *wire) lastHeard(at time.Time) time.Time {
	if heard := time.Unix(0, w.heard.Load()); heard.After(at) {
		return heard
	}
	return at
}

// Close ends what carries the wire first: a channel's own end is a message, which
// a network that was cut takes nowhere.
func (w *wire) Close() error {
	w.closing.Do(func() {
		if w.under == nil {
			w.err = w.Conn.Close()
			return
		}
		w.under()
		_ = w.Conn.Close() // of what has ended already
	})
	return w.err
}

// blame adds what a ProxyCommand says of its failure.
func (w *wire) blame(err error) error {
	if w.words == nil || !errors.Is(err, core.NodeUnreachable) || w.words() == "" {
		return err
	}
	f := *core.FaultOf(err)
	f.Facts = append(f.Facts, core.Text("proxy_command", w.words()))
	return &f
}
