package lease

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// A Spec is what to start.
type Spec struct {
	Name     string       // argv[0]; the child makes it its comm by SetName
	Args     []string     // without --lease and --listen, which Start adds
	Run      string       // the value of Mark in the child's environment
	Boot     Boot         // the lease's first line
	Listener net.Listener // handed over and closed here; nil: none
	Stdout   io.Writer    // gets the child's stdout, and must not block for ever; nil: discarded
	Log      io.Writer    // gets the child's stderr and should never block: a *Log; nil: only the last lines are kept
}

// A Child is a process that lives by the lease this one holds. It has a process
// group of its own: Ctrl+C at the terminal reaches the parent alone, which then
// ends its children in order.
type Child struct {
	Proc  Proc
	Lease *Holder

	cmd    *exec.Cmd
	tail   *Tail
	exited chan struct{} // closed when the process is gone
	done   chan struct{} // closed when moreover its output is read and err is set
	err    error
}

// Start starts this very executable, even when its file was replaced meanwhile.
func Start(s Spec) (*Child, error) {
	pipes, err := newPipes()
	if err != nil {
		return nil, fmt.Errorf("lease: start %s: %w", s.Name, err)
	}
	defer pipes.closeChilds()
	cmd := &exec.Cmd{
		Path:        "/proc/self/exe",
		Args:        append([]string{s.Name}, s.Args...),
		Env:         append(os.Environ(), Mark+"="+s.Run),
		Stdout:      pipes.stdout, // files, so that Wait waits for the process and not for the pipes' last writer
		Stderr:      pipes.stderr,
		ExtraFiles:  []*os.File{pipes.lease},
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true},
	}
	cmd.Args = append(cmd.Args, "--lease", "fd:3")
	if err := handOver(cmd, s.Listener); err != nil {
		return nil, errors.Join(fmt.Errorf("lease: start %s: %w", s.Name, err), pipes.closeOurs())
	}
	if err := cmd.Start(); err != nil {
		closeHanded(cmd)
		return nil, errors.Join(fmt.Errorf("lease: start %s: %w", s.Name, err), pipes.closeOurs())
	}
	return adopt(cmd, s, pipes)
}

// pipes are the three streams between a parent and its child.
type pipes struct {
	lease, stdout, stderr *os.File // the child's ends
	hold, out, logs       *os.File // ours
}

func newPipes() (*pipes, error) {
	p := &pipes{}
	for _, ends := range []struct{ r, w **os.File }{{&p.lease, &p.hold}, {&p.out, &p.stdout}, {&p.logs, &p.stderr}} {
		var err error
		if *ends.r, *ends.w, err = os.Pipe(); err != nil {
			p.closeChilds()
			return nil, errors.Join(err, p.closeOurs())
		}
	}
	return p, nil
}

// closeChilds closes the child's ends here; nil files are closed already.
func (p *pipes) closeChilds() {
	for _, f := range []*os.File{p.lease, p.stdout, p.stderr} {
		_ = f.Close()
	}
}

func (p *pipes) closeOurs() error {
	return errors.Join(p.hold.Close(), p.out.Close(), p.logs.Close())
}

// handOver gives the listener to cmd as descriptor 4. It is closed here: a parent
// that keeps it would let callers of a dead child wait in the backlog for ever.
func handOver(cmd *exec.Cmd, ln net.Listener) error {
	if ln == nil {
		return nil
	}
	defer ln.Close()
	filer, ok := ln.(interface{ File() (*os.File, error) })
	if !ok {
		return fmt.Errorf("%T is not a file", ln)
	}
	f, err := filer.File()
	if err != nil {
		return err
	}
	cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	cmd.Args = append(cmd.Args, "--listen", "fd:4")
	return nil
}

// closeHanded closes our copies of what was handed over.
func closeHanded(cmd *exec.Cmd) {
	for _, f := range cmd.ExtraFiles[1:] {
		_ = f.Close()
	}
}

// adopt makes a Child of the started cmd.
func adopt(cmd *exec.Cmd, s Spec, p *pipes) (*Child, error) {
	closeHanded(cmd)
	c := &Child{cmd: cmd, exited: make(chan struct{}), done: make(chan struct{}), tail: &Tail{Log: s.Log}, Lease: &Holder{w: p.hold}}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		var both sync.WaitGroup
		both.Go(func() { pass(p.logs, c.tail) })
		both.Go(func() { pass(p.out, s.Stdout) })
		both.Wait()
	}()
	c.Proc, _ = Find(cmd.Process.Pid) // before Wait: the pid is the child's. Zero when it ended already
	go c.wait(p, drained)
	if err := c.Lease.write(line{Boot: &s.Boot}); err != nil {
		<-c.done // it ended before it read a line: its own words say why
		return nil, errors.Join(fmt.Errorf("lease: start %s: %w", s.Name, err), c.err)
	}
	return c, nil
}

// pass copies r to w to its end, whatever w does: who writes must never wait.
func pass(r io.Reader, w io.Writer) {
	if w != nil {
		_, _ = io.Copy(w, r)
	}
	_, _ = io.Copy(io.Discard, r)
}

// wait reaps the process and then gives its last words a moment to arrive: a
// grandchild may hold a pipe open, or Spec.Log block, so the end is not waited for.
func (c *Child) wait(p *pipes, drained <-chan struct{}) {
	err := c.cmd.Wait()
	close(c.exited)
	select {
	case <-drained:
	case <-time.After(100 * time.Millisecond):
	}
	p.logs.Close()
	p.out.Close()
	if err != nil {
		c.err = fmt.Errorf("%s: %s", c.cmd.Args[0], c.how())
	}
	c.Lease.Close()
	close(c.done)
}

// how says how the process ended. The exit status adds nothing to words of its own.
func (c *Child) how() string {
	state, words := c.cmd.ProcessState.String(), c.tail.Words()
	switch {
	case words == "":
		return state
	case c.cmd.ProcessState.Exited():
		return words
	}
	return state + ": " + words
}

// Exited is closed as soon as the process is gone.
func (c *Child) Exited() <-chan struct{} { return c.exited }

// Done is closed when the process is gone and its last words are known, a moment
// after its exit.
func (c *Child) Done() <-chan struct{} { return c.done }

// Err says how the process ended, in its own words if it had any: nil for status 0. Only after Done.
func (c *Child) Err() error { return c.err }

// A Grace is how long each step of an orderly stop may take.
type Grace struct{ Ask, Term time.Duration }

// A Step is what it took to stop a child.
type Step string

// The steps, in their order.
const (
	Gone   Step = "was gone"
	Asked  Step = "was asked"
	Termed Step = "SIGTERM"
	Killed Step = "SIGKILL"
)

// Stop ends the child: ask, for example POST /v1/shutdown, then SIGTERM, then
// SIGKILL, each with its grace. A nil ask, or one that fails, goes on to SIGTERM
// at once; so does ctx when it is done. It returns when the process is gone and
// says what it took.
func (c *Child) Stop(ctx context.Context, ask func(context.Context) error, g Grace) Step {
	if c.within(ctx, 0) {
		return Gone
	}
	if ask != nil {
		asking, cancel := context.WithTimeout(ctx, g.Ask)
		defer cancel()
		if err := ask(asking); err == nil && c.within(asking, g.Ask) {
			return Asked
		}
	}
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may be gone by now
	if c.within(context.WithoutCancel(ctx), g.Term) {
		return Termed
	}
	_ = c.cmd.Process.Kill()
	<-c.done
	return Killed
}

// within waits for the child's end, for d at most.
func (c *Child) within(ctx context.Context, d time.Duration) bool {
	select {
	case <-c.done:
		return true
	default:
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c.done:
		return true
	case <-t.C:
	case <-ctx.Done():
	}
	return false
}
