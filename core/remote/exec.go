package remote

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

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
	last  *lastLine
}

// Start runs argv on the node with run as its mark, and writes the lease's boot
// line. stdout and stderr are read to their ends whatever log does with them, else
// the program would block in its first line after 2 MiB. The caller runs Lease.Beat.
func (c *Conn) Start(argv []string, run string, boot lease.Boot, log io.Writer) (*Process, error) {
	s, err := c.client.NewSession()
	if err != nil {
		return nil, fmt.Errorf("remote: %s: exec: %w: %w", c.node.label(), core.NodeUnreachable, err)
	}
	stdin, err := s.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("remote: %s: exec: %w", c.node.label(), err)
	}
	p := &Process{node: c.node, first: make(chan []byte, 1), done: make(chan struct{}), last: &lastLine{log: log}}
	s.Stdout, s.Stderr = &firstLine{to: p.first}, p.last
	// sshd accepts no environment of ours by default; env and exec are the same
	// in sh and fish, and leave no shell between sshd and the program.
	if err := s.Start("exec env " + quote(lease.Mark+"="+run) + " " + quote(argv...)); err != nil {
		return nil, fmt.Errorf("remote: %s: exec %s: %w: %w", c.node.label(), argv[0], core.NodeUnreachable, err)
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
	if last := p.last.String(); last != "" {
		return errors.New(last)
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

// Find returns where our program lies on the node: in PATH, or where rbee
// install puts it.
func (c *Conn) Find(ctx context.Context) (string, error) {
	out, err := c.output(ctx, []string{"sh", "-c", `command -v rbee || { [ -x "$HOME/.local/bin/rbee" ] && echo "$HOME/.local/bin/rbee"; }`})
	if err == nil && strings.HasPrefix(strings.TrimSpace(out), "/") {
		return strings.TrimSpace(out), nil
	}
	if errors.Is(err, core.NodeUnreachable) {
		return "", fmt.Errorf("remote: %s: %w", c.node.label(), err)
	}
	return "", &core.Fault{
		Kind: core.NodeUnreachable, What: fmt.Sprintf("rbee is not installed on node %s: %v", c.node.label(), errNoRbee),
		Try:   fmt.Sprintf("scp $(command -v rbee) %s: && ssh %s ./rbee install", c.node.label(), c.node.label()),
		Cause: errNoRbee,
	}
}

// Version returns what the program at exe says its version is.
func (c *Conn) Version(ctx context.Context, exe string) (string, error) {
	out, err := c.output(ctx, []string{exe, "version"})
	if err != nil {
		return "", fmt.Errorf("remote: %s: %s version: %w: %s", c.node.label(), exe, err, strings.TrimSpace(out))
	}
	return strings.TrimPrefix(strings.TrimSpace(out), "rbee "), nil
}

// Kill sends SIGTERM to a process of the node by exe, our own program there,
// which compares the start time first. The signal request of SSH is no way:
// sshd up to 9.7 drops it for root and for forced commands, and says nothing.
func (c *Conn) Kill(ctx context.Context, exe string, p lease.Proc) error {
	argv := []string{exe, "hive", "stop", "--pid", strconv.Itoa(p.PID), "--started", strconv.FormatUint(p.Started, 10)}
	out, err := c.output(ctx, argv)
	if err != nil {
		return fmt.Errorf("remote: %s: stop pid %d: %w: %s", c.node.label(), p.PID, err, strings.TrimSpace(out))
	}
	return nil
}

// output runs argv and returns what it wrote.
func (c *Conn) output(ctx context.Context, argv []string) (string, error) {
	s, err := c.client.NewSession()
	if err != nil {
		return "", fmt.Errorf("%w: %w", core.NodeUnreachable, err)
	}
	defer s.Close()
	defer context.AfterFunc(ctx, func() { s.Close() })()
	out, err := s.CombinedOutput("exec " + quote(argv...))
	if _, ok := errors.AsType[*ssh.ExitMissingError](err); ok && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return string(out), err
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

// lastLine remembers the last line written to it, passes all on and never fails.
type lastLine struct {
	log io.Writer // may be nil

	mu   sync.Mutex // guards last and part
	last string
	part []byte
}

func (l *lastLine) Write(p []byte) (int, error) {
	if l.log != nil {
		_, _ = l.log.Write(p)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.part = append(l.part, p...)
	for {
		line, rest, found := bytes.Cut(l.part, []byte("\n"))
		if !found {
			break
		}
		if text := strings.TrimSpace(string(line)); text != "" {
			l.last = text
		}
		l.part = append([]byte(nil), rest...)
	}
	if len(l.part) > maxFirstLine {
		l.part = nil
	}
	return len(p), nil
}

func (l *lastLine) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return cmp.Or(strings.TrimSpace(string(l.part)), l.last)
}
