package cmdline

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"rbee/core"
	"rbee/core/config"
	"rbee/core/lease"
	"rbee/core/serve"
)

// Run is a daemon's whole life: Begin, body, and Finish whatever happens.
func Run(c *cli.Context, role, name string, stop func(config.Limits) time.Duration, body func(*Daemon) error) error {
	d, err := Begin(c, role, name, stop)
	if err != nil {
		return err
	}
	err = body(d)
	if cause := d.Finish(); err == nil {
		err = cause
	}
	return err
}

// Phases are what a daemon does besides answering. Nil phases are skipped.
type Phases struct {
	Run   []func(context.Context) error // for as long as it lives; the first to return ends it
	Drain func(context.Context)         // returns when nothing is under way, or when ctx is done
	End   func(context.Context)         // ends what the daemon started
}

// Serve answers on ln until d.Ctx is done, which handlers take as the order to
// refuse new work. Then it drains, ends, and only after that stops to answer: what
// is under way must see its end.
func (d *Daemon) Serve(ln net.Listener, h http.Handler, p Phases) error {
	life, over := context.WithCancel(context.WithoutCancel(d.Ctx))
	defer over()
	open, shut := context.WithCancel(context.WithoutCancel(d.Ctx))
	defer shut()
	ended := make(chan error, len(p.Run)+1)
	var runs, server sync.WaitGroup
	server.Go(func() { ended <- serve.HTTP(open, ln, h, 2*time.Second) })
	for _, run := range p.Run {
		runs.Go(func() { ended <- run(life) })
	}
	var err error
	select {
	case err = <-ended:
		d.end(err)
	case <-d.Ctx.Done():
	}
	if p.Drain != nil && d.drains() {
		d.drain(p.Drain)
	}
	d.dog.KillIn(d.stopping + time.Second)
	if p.End != nil {
		p.End(life)
	}
	over()
	runs.Wait()
	shut()
	server.Wait()
	return err
}

// drains tells whether running work is waited for: nobody waits with Ctrl+C, and
// who holds us by a lease has waited already.
func (d *Daemon) drains() bool {
	cause := context.Cause(d.Ctx)
	s, signalled := errors.AsType[lease.SignalError](cause)
	asked := errors.Is(cause, ErrAsked) || errors.Is(cause, ErrHandover) || signalled && s.Signal != syscall.SIGINT
	return d.Mode == core.Persistent && !d.leased && asked
}

// drain waits for as long as the limit allows, or until a second signal.
func (d *Daemon) drain(wait func(context.Context)) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(d.Ctx), d.Settings.Limits.Drain)
	defer cancel()
	go func() {
		select {
		case <-d.again:
			cancel()
		case <-ctx.Done():
		}
	}()
	wait(ctx)
}

// Holder is who holds the daemon at this moment, and what is closed when that is over;
// nil: nobody does.
func (d *Daemon) Holder() (lease.Boot, <-chan struct{}) { return d.lease.Holder() }

// HeldBy lets the daemon live by another holder from now on, and returns when that
// one is gone or replaced.
func (d *Daemon) HeldBy(c *lease.Carrier) error {
	if err := d.lease.Return(d.held, c); err != nil {
		return err
	}
	<-c.Done()
	return nil
}

// Until returns a copy of ctx that ends also when the daemon's end begins.
func (d *Daemon) Until(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	unhook := context.AfterFunc(d.Ctx, cancel)
	return ctx, func() { unhook(); cancel() }
}
