package keeper

import (
	"cmp"
	"context"
	"errors"

	"github.com/urfave/cli/v2"

	"rbee/core"
	"rbee/core/config"
	"rbee/roles/cmdline"
)

// A session is a command with the queen that it asks.
type session struct {
	*cli.Context

	settings config.Settings
	screen   *screen
	queen    *queen
}

// withAnyQueen is an action that takes the queen that runs, or one of its own, who
// ends with it. What is wrong with the arguments is said before.
func withAnyQueen(act func(ctx context.Context, x *session) error, checks ...func(*cli.Context) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		for _, check := range checks {
			if err := check(c); err != nil {
				return err
			}
		}
		settings, err := cmdline.Settings()
		if err != nil {
			return err
		}
		s := newScreen(c, settings.Terminal)
		s.json = false // what the command answers is no stream of events
		q, err := findQueen(c.Context, c, settings, s)
		if err != nil {
			return err
		}
		return q.finish(c.Context, s, act(c.Context, &session{c, settings, s, q}))
	}
}

// wants is a check that there are at least so many arguments, and at most.
func wants(least, most int, what, try string) func(*cli.Context) error {
	return func(c *cli.Context) error {
		if n := c.Args().Len(); n < least || n > most {
			return &core.Fault{Kind: core.Invalid, What: "want " + what, Try: try}
		}
		return nil
	}
}

// finish ends what was started. What went wrong first is the error.
func (q *queen) finish(ctx context.Context, s *screen, err error) error {
	if errors.Is(err, errReaderGone) {
		err = nil // as head does: enough was read
	}
	ended := q.end(ctx, s)
	if ended == nil || err == nil {
		return cmp.Or(err, ended)
	}
	s.verdict(ended)
	return err
}

// on runs a call that a node answers, and again when its host key was trusted. The
// known_hosts of a queen elsewhere is not ours to write. Without a node it is any
// that the queen chooses.
func (x *session) on(ctx context.Context, node core.NodeName, call func() error) error {
	x.expect(node)
	once := func() error {
		err := x.queen.why(ctx, call())
		if err == nil {
			x.there(node)
		}
		return err
	}
	if x.IsSet("queen") {
		return once()
	}
	return newDoorman(x.Context, x.settings).through(ctx, string(node), once)
}

// expect notes that a node is asked for; there that its hive was seen.
func (x *session) expect(node core.NodeName) {
	if x.queen.nodes != nil && node != "" {
		x.queen.nodes[node] = false
	}
}

func (x *session) there(node core.NodeName) {
	if _, asked := x.queen.nodes[node]; asked {
		x.queen.nodes[node] = true
	}
}
