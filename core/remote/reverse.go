package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"rbee/core"
)

// A Reverse is a port of the node that leads back to an address here.
type Reverse struct {
	Port   int // on the node's 127.0.0.1, chosen there: a fixed one may be held by a dead session for hours
	ln     net.Listener
	target string
}

// Reverse asks the node for a port that leads to target, our own listener.
// Serving HTTP on the port itself would not do: channels have no deadlines, so a
// server's Shutdown waits for idle clients to its limit, and timeouts do nothing.
func (c *Conn) Reverse(ctx context.Context, target string) (*Reverse, error) {
	ln, err := within(ctx, c, func() (net.Listener, error) { return c.client.Listen("tcp", "127.0.0.1:0") })
	if ctx.Err() != nil {
		return nil, fmt.Errorf("remote: %s: reverse: %w", c.node.label(), context.Cause(ctx))
	}
	if errors.Is(err, core.NodeUnreachable) {
		return nil, fmt.Errorf("remote: %s: reverse: %w", c.node.label(), err)
	}
	if err != nil {
		return nil, fmt.Errorf("remote: %s: reverse: %w: %w", c.node.label(), core.ForwardingForbidden, err)
	}
	return &Reverse{ln.Addr().(*net.TCPAddr).Port, ln, target}, nil
}

// TryReverse tells whether the node lets itself be asked for a way back.
func (c *Conn) TryReverse(ctx context.Context) error {
	r, err := c.Reverse(ctx, "127.0.0.1:1")
	if err != nil {
		return err
	}
	_, err = within(ctx, c, func() (none, error) { return none{}, r.ln.Close() })
	return err
}

// Run copies bytes until ctx is done or the connection is gone, then gives the
// port back and waits for every copy to end.
func (r *Reverse) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var copies sync.WaitGroup
	defer copies.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { r.ln.Close() })
	defer stop()
	for {
		there, err := r.ln.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("remote: reverse: %w: %w", core.NodeUnreachable, err)
		}
		copies.Go(func() { r.join(ctx, there) })
	}
}

// join connects there with the target and copies both ways to both ends.
func (r *Reverse) join(ctx context.Context, there net.Conn) {
	defer there.Close()
	here, err := new(net.Dialer).DialContext(ctx, "tcp", r.target)
	if err != nil {
		return
	}
	defer here.Close()
	defer context.AfterFunc(ctx, func() { there.Close(); here.Close() })()
	var back sync.WaitGroup
	back.Go(func() { half(there, here) })
	half(here, there)
	back.Wait()
}

// half copies src to dst and then tells dst that no more comes.
func half(dst, src net.Conn) {
	_, _ = io.Copy(dst, src)
	if w, ok := dst.(interface{ CloseWrite() error }); ok {
		_ = w.CloseWrite()
	}
}
