package cmdline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"rbee/core"
	"rbee/core/config"
	"rbee/core/lease"
	"rbee/core/logs"
	"rbee/core/secure"
)

// ErrAsked is the cause of an end that POST /v1/shutdown asked for.
var ErrAsked = errors.New("asked to end")

// ErrHandover is the cause of an end after which another process of the same role
// takes over: what this one started lives on.
var ErrHandover = errors.New("handed over")

// DaemonFlags are the flags of every daemon; listen is where it listens by default.
func DaemonFlags(listen string) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "listen", Usage: "`ADDRESS` to listen on, or fd:N for a listener that was handed over", Value: listen},
		&cli.StringFlag{Name: "token-file", Usage: "`FILE` with the token that callers must have, mode 0600"},
		&cli.StringSliceFlag{Name: "allowed-host", Usage: "further host `NAME` that requests may be addressed to"},
		&cli.StringFlag{Name: "log-level", Usage: "debug, info, warn or error", Value: "info"},
		&cli.StringFlag{Name: "log-format", Usage: "text or json", Value: "text"},
		&cli.StringFlag{Name: "lease", Usage: "the lease this process lives by: fd:N or stdin"},
	}
}

// Settings loads the settings from the environment and the config file.
func Settings() (config.Settings, error) { return config.Load(os.Environ()) }

// A Daemon is a process that serves until a signal, the end of its lease, or a
// call ends it.
type Daemon struct {
	Role     string
	Instance string // of the run, when a lease gave one; else of this process
	Mode     core.Mode
	Settings config.Settings
	Log      *slog.Logger
	LogTo    *lease.Log // for children
	Boot     lease.Boot // of the lease; empty without one
	Token    string     // that callers must have; empty: open
	Hosts    []string   // names besides localhost

	Ctx  context.Context // ends with the daemon; its cause says why
	end  context.CancelCauseFunc
	stop func()

	asked atomic.Bool // to end, and not to hand over
	dog   *lease.Watchdog

	lease    *lease.Lease
	held     context.Context // what it says
	leased   bool            // somebody started us under it
	again    <-chan struct{} // closed by the second signal
	stopping time.Duration   // how long the orderly end may take
}

// Begin makes this process a daemon of the given name, which ps shows. stop is
// how long its orderly end may take; then its watchdog kills it. The caller calls
// Finish when it has ended in order.
func Begin(c *cli.Context, role, name string, stop func(config.Limits) time.Duration) (*Daemon, error) {
	s, err := Settings()
	if err != nil {
		return nil, err
	}
	d := &Daemon{Role: role, Settings: s, again: lease.Again(), stopping: stop(s.Limits), Mode: core.Persistent, Instance: secure.RandomID(), Hosts: c.StringSlice("allowed-host")}
	_ = lease.SetName(name) // cosmetic
	d.LogTo = lease.NewLog(1000)
	if d.Log, err = logs.New(d.LogTo, c.String("log-level"), c.String("log-format")); err != nil {
		return nil, err
	}
	if d.dog, err = lease.NewWatchdog(); err != nil {
		return nil, err
	}
	carrier, err := lease.Open(c.String("lease"))
	if err != nil {
		return nil, &core.Fault{Kind: core.Invalid, What: err.Error(), Cause: err}
	}
	go d.LogTo.Run(os.Stderr) // for as long as the process lives
	d.lease, d.leased = lease.New(d.terms(), d.dog), carrier != nil
	d.held, d.stop = d.lease.Held(c.Context, carrier)
	d.Ctx, d.end = context.WithCancelCause(d.held)
	if err := d.boot(c); err != nil {
		return nil, cmp.Or(err, d.Finish())
	}
	return d, nil
}

// boot takes what the lease says, and the token.
func (d *Daemon) boot(c *cli.Context) (err error) {
	if d.leased {
		if d.Boot, err = d.lease.Boot(d.held); err != nil {
			return err
		}
		d.Mode = cmp.Or(d.Boot.Mode, core.Ephemeral)
		d.Instance = cmp.Or(d.Boot.Instance, d.Instance)
	}
	return d.readToken(c)
}

// terms are those of this daemon's lease.
func (d *Daemon) terms() lease.Terms {
	l := d.Settings.Limits
	return lease.Terms{Beat: l.Beat, BeatLost: l.BeatLost, EOFGrace: l.EOFGrace, End: d.stopping + time.Second}
}

func (d *Daemon) readToken(c *cli.Context) error {
	if d.Token = d.Boot.Token; d.Token != "" {
		return nil
	}
	var err error
	d.Token, err = secure.TokenIn(cmp.Or(c.String("token-file"), d.Settings.TokenFile))
	return err
}

// End begins the daemon's end.
func (d *Daemon) End(cause error) {
	if errors.Is(cause, ErrAsked) {
		d.asked.Store(true)
	}
	d.end(cause)
}

// HandsOver tells whether the daemon's end is a handover. It is none any more when a
// signal or a call to end has come since.
func (d *Daemon) HandsOver() bool { return errors.Is(d.why(), ErrHandover) }

// why is the cause of the daemon's end.
func (d *Daemon) why() error {
	cause := context.Cause(d.Ctx)
	switch {
	case !errors.Is(cause, ErrHandover):
		return cause
	case d.asked.Load():
		return ErrAsked
	case d.held.Err() != nil:
		return context.Cause(d.held)
	}
	return cause
}

// Finish gives the lease up, writes the last lines of the log, and returns why
// the daemon ended, as roles.Main wants it.
func (d *Daemon) Finish() error {
	d.end(nil)
	why := d.why()
	d.stop()
	d.LogTo.Flush(200 * time.Millisecond)
	return why
}

// Listen returns the listener of --listen. A daemon without a token listens on
// loopback only.
func (d *Daemon) Listen(c *cli.Context) (net.Listener, error) { return d.ListenAt(c.String("listen")) }

// ListenAt is Listen for an address.
func (d *Daemon) ListenAt(addr string) (net.Listener, error) {
	if len(addr) > 3 && addr[:3] == "fd:" {
		return lease.ListenFD(addr)
	}
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return nil, &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("--listen %s: want HOST:PORT", addr), Try: "--listen 127.0.0.1:PORT", Cause: err}
	}
	if d.Token == "" && !loopback(addr) {
		return nil, &core.Fault{
			Kind: core.Invalid, What: fmt.Sprintf("without a token the %s listens on loopback only, not on %s", d.Role, addr),
			Try: "give it --token-file FILE",
		}
	}
	ln, err := listenSoon(d.Ctx, addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, &core.Fault{
			Kind: core.Invalid, What: fmt.Sprintf("address %s is taken by another program", addr),
			Try: fmt.Sprintf("end that program, or give another address: rbee %s --listen 127.0.0.1:PORT", d.Role), Cause: err,
		}
	}
	if err != nil {
		return nil, &core.Fault{Kind: core.Invalid, What: err.Error(), Cause: err}
	}
	return ln, nil
}

// listenSoon listens, and when the address is taken tries again for a moment: it may
// be held by a process that was killed just now.
func listenSoon(ctx context.Context, addr string) (net.Listener, error) {
	for end := time.Now().Add(time.Second / 2); ; {
		ln, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
		if !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(end) {
			return ln, err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return nil, err
		}
	}
}

func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// NextFree listens on 127.0.0.1 at the port, or at the next free one above it.
// moved says that the port itself was taken.
func NextFree(ctx context.Context, port int) (ln net.Listener, moved bool, err error) {
	const tries = 200
	for p := port; p < port+tries; p++ {
		ln, err = new(net.ListenConfig).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", p))
		if !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	if err != nil {
		return nil, false, fmt.Errorf("cmdline: a port from %d on: %w", port, err)
	}
	return ln, Port(ln) != port, nil
}

// Port is the port of a TCP listener.
func Port(ln net.Listener) int { return ln.Addr().(*net.TCPAddr).Port }
