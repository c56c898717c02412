package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"rbee/core"
	"rbee/core/lease"
)

// A Process is a program on the node that lives by the lease on its stdin.
type Process struct {
	Lease *lease.Holder

	node  Node
	first chan []byte   // the first line of stdout
	done  chan struct{} // closed when the session is over and err is set
	err   error
	tail  *lease.Tail
}

// Start runs argv on the node with run as its mark, and writes the lease's boot
// line. stdout and stderr are read to their ends whatever log does with them, else
// the program would block in its first line after 2 MiB. ctx is for the start only.
// The caller runs Lease.Beat.
func (c *Conn) Start(ctx context.Context, argv []string, run string, boot lease.Boot, log io.Writer) (*Process, error) {
	s, err := within(ctx, c, c.client.NewSession)
	if err != nil {
		return nil, fmt.Errorf("remote: %s: exec: %w", c.node.label(), unreachable(err))
	}
	stdin, err := s.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("remote: %s: exec: %w", c.node.label(), err)
	}
	p := &Process{node: c.node, first: make(chan []byte, 1), done: make(chan struct{}), tail: &lease.Tail{Log: log}}
	s.Stdout, s.Stderr = &firstLine{to: p.first}, p.tail
	// sshd accepts no environment of ours by default; env and exec are the same
	// in sh and fish, and leave no shell between sshd and the program.
	line := "exec env " + quote(lease.Mark+"="+run) + " " + quote(argv...)
	if _, err := within(ctx, c, func() (none, error) { return none{}, s.Start(line) }); err != nil {
		go s.Close() // writes, and a cut network takes nothing
		return nil, fmt.Errorf("remote: %s: exec %s: %w", c.node.label(), argv[0], unreachable(err))
	}
	go func() {
		defer close(p.done)
		p.err = s.Wait()
	}()
	if p.Lease, err = lease.Hold(stdin, boot); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return p, nil
}

// FirstLine returns the first line that the program writes on stdout, without
// its newline. A program that ends before it has said one fails with the last
// line of its stderr.
func (p *Process) FirstLine(ctx context.Context) ([]byte, error) {
	select {
	case b := <-p.first:
		return b, nil
	case <-p.done:
		select {
		case b := <-p.first: // it spoke and ended
			return b, nil
		default:
			return nil, fmt.Errorf("remote: %s: the program ended: %w", p.node.label(), p.ended())
		}
	case <-ctx.Done():
		return nil, fmt.Errorf("remote: %s: %w", p.node.label(), context.Cause(ctx))
	}
}

// ended says how the program ended, in its own words if it had any.
func (p *Process) ended() error {
	if words := p.tail.Words(); words != "" {
		return errors.New(words)
	}
	if p.err == nil {
		return errors.New("exit status 0")
	}
	return p.err
}

// Done is closed when the program has ended or the connection is gone.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err says how it ended; nil for status 0. Only after Done.
func (p *Process) Err() error { return p.err }

// Kill sends SIGTERM to a process of the node by exe, our own program there,
// which compares the start time first. The signal request of SSH is no way:
// sshd up to 9.7 drops it for root and for forced commands, and says nothing. It
// returns the last line that the program says.
func (c *Conn) Kill(ctx context.Context, exe string, p lease.Proc) (said string, err error) {
	argv := []string{exe, "hive", "stop", "--pid", strconv.Itoa(p.PID), "--started", strconv.FormatUint(p.Started, 10)}
	if said, err = c.lastOf(ctx, argv); err != nil {
		return "", fmt.Errorf("remote: %s: stop pid %d: %w", c.node.label(), p.PID, err)
	}
	return said, nil
}

// Output runs argv and returns what it writes on stdout, as far as a MiB.
func (c *Conn) Output(ctx context.Context, argv []string) ([]byte, error) {
	said, err := within(ctx, c, func() ([]byte, error) {
		s, err := c.client.NewSession()
		if err != nil {
			return nil, unreachable(err)
		}
		defer s.Close()
		defer context.AfterFunc(ctx, func() { s.Close() })()
		out, err := s.StdoutPipe()
		if err != nil {
			return nil, err
		}
		var errs lease.Tail
		s.Stderr = &errs
		if err := s.Start("exec " + quote(argv...)); err != nil {
			return nil, err
		}
		said, err := io.ReadAll(io.LimitReader(out, 1<<20))
		if err == nil {
			err = s.Wait()
		}
		if words := errs.Words(); err != nil && words != "" {
			err = fmt.Errorf("%w: %s", err, words)
		}
		return said, err
	})
	if err != nil {
		return said, fmt.Errorf("remote: %s: %s: %w", c.node.label(), argv[0], err)
	}
	return said, nil
}

// lastOf runs argv and returns the last line of its stdout: a shell may greet
// before it. The last line of its stderr stands in the error.
func (c *Conn) lastOf(ctx context.Context, argv []string) (string, error) {
	return within(ctx, c, func() (string, error) {
		s, err := c.client.NewSession()
		if err != nil {
			return "", unreachable(err)
		}
		defer s.Close()
		defer context.AfterFunc(ctx, func() { s.Close() })()
		var said, errs lease.Tail
		s.Stdout, s.Stderr = &said, &errs
		if err := s.Run("exec " + quote(argv...)); err != nil {
			return "", fmt.Errorf("%w: %s", err, errs.Words())
		}
		return said.Words(), nil
	})
}

type none = struct{}

// within returns what call does, or how ctx or the connection ended if that comes
// first. Opening a channel waits for an answer: a network that was cut never
// brings it, and x/crypto (0.58) may wait for ever on a connection that was closed
// while its keys were being renewed.
func within[T any](ctx context.Context, c *Conn, call func() (T, error)) (T, error) {
	var zero T
	select {
	case <-c.gone:
		return zero, c.ended()
	default:
	}
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		v, err := call()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		if r.err != nil && ctx.Err() != nil {
			r.err = context.Cause(ctx)
		}
		return r.v, r.err
	case <-c.gone:
		return zero, c.ended()
	case <-ctx.Done():
		return zero, context.Cause(ctx)
	}
}

// ended is the error of a call on a connection that is gone.
func (c *Conn) ended() error { return unreachable(c.why) }

// unreachable gives err the kind NODE_UNREACHABLE, once.
func unreachable(err error) error {
	if errors.Is(err, core.NodeUnreachable) {
		return err
	}
	return fmt.Errorf("%w: %w", core.NodeUnreachable, err)
}

// quote makes argv one command line for sh and fish alike.
func quote(argv ...string) string {
	q := make([]string, len(argv))
	for i, a := range argv {
		q[i] = "'" + strings.NewReplacer("'", `'"'"'`, `\`, `'"\\"'`).Replace(a) + "'"
	}
	return strings.Join(q, " ")
}

// firstLine sends the first line written to it and drops the rest.
type firstLine struct {
	to   chan<- []byte
	part []byte
	said bool
}

const maxFirstLine = 64 << 10

func (f *firstLine) Write(p []byte) (int, error) {
	if f.said {
		return len(p), nil
	}
	f.part = append(f.part, p...)
	if i := bytes.IndexByte(f.part, '\n'); i >= 0 || len(f.part) > maxFirstLine {
		f.said = true
		f.to <- f.part[:max(i, 0)]
	}
	return len(p), nil
}
