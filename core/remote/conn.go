// Package remote starts and reaches processes on other machines over SSH.
//
// One Conn to a node carries the lease of its hive (the stdin of an exec), the
// calls to what runs there (DialContext) and the calls back (Reverse). Every
// error that is the node's fault has one of core's kinds.
package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"rbee/core"
)

// A Conn is one authenticated connection to a node. Its methods may be called at once.
type Conn struct {
	client *ssh.Client
	wire   *wire
	node   Node
	gone   chan struct{} // closed when the connection has ended
	why    error         // what ended it; only after gone
	silent atomic.Bool
}

// Dial logs in, each host on the way within limit from the first packet to the
// last of the login: ClientConfig.Timeout would cover only the TCP part, and a
// server that accepts and says nothing would hold us for ever.
func Dial(ctx context.Context, n Node, limit time.Duration) (*Conn, error) {
	var via *Conn
	if n.Via != nil {
		var err error
		if via, err = Dial(ctx, *n.Via, limit); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	w, err := n.wire(ctx, via)
	if err != nil {
		return nil, err
	}
	cut := context.AfterFunc(ctx, func() { w.Close() })
	client, err := n.login(ctx, w)
	if !cut() && err == nil { // done in the very last moment: the connection is closed
		err = n.unreachable(context.Cause(ctx))
	}
	if err != nil {
		w.Close()
		return nil, w.blame(err)
	}
	c := &Conn{client: client, wire: w, node: n, gone: make(chan struct{})}
	go func() { // ends with the connection
		defer close(c.gone)
		c.why = client.Wait()
		w.Close()
	}()
	return c, nil
}

// DialRetry is Dial in one attempt more than there are pauses between them, each
// of which is taken give or take half. announce is told of each failure that is followed by another
// attempt. What trying again cannot mend, such as a refused key, ends it at once.
func DialRetry(ctx context.Context, n Node, limit time.Duration, pauses []time.Duration, announce func(error)) (*Conn, error) {
	for _, pause := range pauses {
		c, err := Dial(ctx, n, limit)
		if err == nil || !errors.Is(err, core.NodeUnreachable) {
			return c, err
		}
		announce(err)
		select {
		case <-time.After(pause/2 + rand.N(max(pause, 1))):
		case <-ctx.Done():
			return nil, err
		}
	}
	return Dial(ctx, n, limit)
}

// login makes an SSH client of a wire.
func (n Node) login(ctx context.Context, w *wire) (*ssh.Client, error) {
	check, err := n.knownHosts()
	if err != nil {
		return nil, err
	}
	ring, done, err := n.keyring(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	name := n.name()
	conf := &ssh.ClientConfig{
		User:              n.User,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(ring.keys...)},
		HostKeyAlgorithms: check.HostKeyAlgorithms(name), // else a known host with a second key looks changed
	}
	var proven bool
	var refused *HostKeyError
	conf.HostKeyCallback = func(_ string, _ net.Addr, key ssh.PublicKey) error {
		refused = n.verdict(check.HostKeyCallback()(name, new(net.TCPAddr), key), name, key) // by name alone: behind a jump host the address says nothing
		if proven = refused == nil; proven {
			return nil
		}
		return refused
	}
	conn, chans, reqs, err := ssh.NewClientConn(w, n.addr(), conf)
	switch {
	case err == nil:
		return ssh.NewClient(conn, chans, reqs), nil
	case refused != nil:
		return nil, fmt.Errorf("remote: %w", refused)
	case ctx.Err() != nil:
		return nil, n.unreachable(fmt.Errorf("no login: %w", context.Cause(ctx)))
	case proven && !cutOff(err):
		return nil, n.authFailed(err, ring)
	}
	return nil, n.unreachable(err)
}

// cutOff tells a connection that broke, worth another try, from a refusal.
func cutOff(err error) bool {
	_, network := errors.AsType[net.Error](err)
	return network || errors.Is(err, io.EOF)
}

// name is the node's name in known_hosts, always with its port.
func (n Node) name() string {
	if n.KeyAlias != "" {
		return net.JoinHostPort(n.KeyAlias, "22")
	}
	return n.addr()
}

func (n Node) knownHosts() (*knownhosts.HostKeyDB, error) {
	files := slices.DeleteFunc(slices.Clone(n.KnownHosts), func(f string) bool {
		_, err := os.Stat(f)
		return err != nil
	})
	db, err := knownhosts.NewDB(files...)
	if err != nil {
		return nil, fmt.Errorf("remote: known_hosts: %w", err)
	}
	return db, nil
}

// verdict turns the answer of known_hosts into ours; nil is trust.
func (n Node) verdict(err error, name string, key ssh.PublicKey) *HostKeyError {
	if err == nil {
		return nil
	}
	e := &HostKeyError{Kind: core.HostKeyChanged, Node: n.label(), Host: knownhosts.Normalize(name), Fingerprint: ssh.FingerprintSHA256(key), Line: knownhosts.Line([]string{name}, key)}
	if knownhosts.IsHostUnknown(err) {
		e.Kind = core.HostKeyUnknown
	}
	if known, ok := errors.AsType[*xknownhosts.KeyError](err); ok {
		for _, k := range known.Want {
			e.Known = append(e.Known, fmt.Sprintf("%s (%s:%d)", ssh.FingerprintSHA256(k.Key), k.Filename, k.Line))
		}
	}
	return e // whatever else it was, a revoked key for one, is no trust either
}

// Close cuts the connection; what lives by a lease on it sees the end of its stdin.
func (c *Conn) Close() error { return errors.Join(c.client.Close(), c.wire.Close()) }

// Watch returns when the connection is gone. A cut network is silence: the node is
// asked for a sign of life every so often, and when it says nothing at all for lost
// the connection is closed. What it says while a long copy stands before our
// question is a sign, too. It returns nil when ctx is done.
func (c *Conn) Watch(ctx context.Context, every, lost time.Duration) error {
	for {
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			_, _, _ = c.client.SendRequest("keepalive@openssh.com", true, nil) // refused is an answer, too
		}()
		if err, over := c.awaitSign(ctx, answered, lost); over {
			return err
		}
		select {
		case <-time.After(every):
		case <-c.gone:
			return c.lost()
		case <-ctx.Done():
			return nil
		}
	}
}

// awaitSign waits for the answer, as long as the node says something.
func (c *Conn) awaitSign(ctx context.Context, answered <-chan struct{}, lost time.Duration) (err error, over bool) {
	asked := time.Now()
	for {
		quiet := time.Since(c.wire.lastHeard(asked))
		late := time.NewTimer(lost - quiet)
		select {
		case <-answered:
			late.Stop()
			return nil, false
		case <-late.C:
			if time.Since(c.wire.lastHeard(asked)) < lost {
				continue
			}
			c.silent.Store(true)
			c.Close()
			return fmt.Errorf("remote: %s: no sign of life for %v: %w", c.node.label(), lost, core.NodeUnreachable), true
		case <-c.gone:
			late.Stop()
			return c.lost(), true
		case <-ctx.Done():
			late.Stop()
			return nil, true
		}
	}
}

// Silent tells whether Watch has ended the connection, for want of a sign of life.
func (c *Conn) Silent() bool { return c.silent.Load() }

// lost is why the connection is gone.
func (c *Conn) lost() error {
	return fmt.Errorf("remote: %s: %w: %w", c.node.label(), core.NodeUnreachable, c.why)
}

// DialContext connects to an address as the node sees it: 127.0.0.1:9200 is the
// node's own. It is a http.Transport's DialContext.
func (c *Conn) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := within(ctx, c, func() (net.Conn, error) { return c.client.DialContext(ctx, network, addr) })
	if err != nil {
		return nil, fmt.Errorf("remote: %s: dial %s: %w", c.node.label(), addr, forwarding(err))
	}
	return conn, nil
}

// forwarding attaches the code to the refusal of a channel.
func forwarding(err error) error {
	if open, ok := errors.AsType[*ssh.OpenChannelError](err); ok {
		if open.Reason == ssh.Prohibited {
			return fmt.Errorf("%w: %w", core.ForwardingForbidden, err)
		}
		return fmt.Errorf("%w: %w", syscall.ECONNREFUSED, err) // nobody listens there
	}
	return unreachable(err)
}
