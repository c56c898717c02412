package cmdline

import (
	"context"

	"github.com/urfave/cli/v2"

	"rbee/core"
	"rbee/core/lease"
)

// LeaseFlag is the flag of a tool that may be the child of a daemon.
func LeaseFlag() cli.Flag {
	return &cli.StringFlag{Name: "lease", Usage: "the lease this process lives by: fd:N or stdin", Hidden: true}
}

// Leased returns the command's context, which ends also with the lease that --lease
// names; then a watchdog ends this process if it does not end by itself. stop gives
// the lease up. name is what ps shows of a process that lives by a lease.
func Leased(c *cli.Context, name string) (ctx context.Context, stop func(), err error) {
	if c.String("lease") == "" {
		return c.Context, func() {}, nil
	}
	s, err := Settings()
	if err != nil {
		return nil, nil, err
	}
	_ = lease.SetName(name) // cosmetic
	dog, err := lease.NewWatchdog()
	if err != nil {
		return nil, nil, err
	}
	carrier, err := lease.Open(c.String("lease"))
	if err != nil {
		return nil, nil, &core.Fault{Kind: core.Invalid, What: err.Error(), Cause: err}
	}
	l := lease.New(lease.Terms{Beat: s.Limits.Beat, BeatLost: s.Limits.BeatLost, End: s.Limits.TermGrace}, dog)
	ctx, stop = l.Held(c.Context, carrier)
	if _, err := l.Boot(ctx); err != nil {
		stop()
		return nil, nil, err
	}
	return ctx, stop, nil
}
