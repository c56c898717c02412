// Package roles picks the role this process plays and runs it.
package roles

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"rbee/core"
	"rbee/core/lease"
	"rbee/roles/cmdline"
	"rbee/roles/hive"
	"rbee/roles/keeper"
	"rbee/roles/queen"
	"rbee/roles/worker"
)

// Stdio is where a role reads and writes.
type Stdio struct {
	In       io.Reader
	Out, Err io.Writer
}

// Main runs argv as one of the roles and returns the exit status. ctx ends with
// the first signal (lease.Signals).
func Main(ctx context.Context, argv []string, std Stdio) int {
	err := play(ctx, argv, std)
	if status, ended := byCause(err); ended {
		return status
	}
	report(std.Err, err)
	return core.KindOf(err).ExitStatus()
}

func play(ctx context.Context, argv []string, std Stdio) error {
	app := &cli.App{
		Name:                      "rbee",
		Usage:                     "run language models on the machines you own",
		HideVersion:               true,
		HideHelpCommand:           true,
		DisableSliceFlagSeparator: true, // a value may hold commas
		Reader:                    std.In,
		Writer:                    std.Out,
		ErrWriter:                 std.Err,
		Commands:                  commands(),
		ExitErrHandler:            func(*cli.Context, error) {}, // Main decides the status
		OnUsageError:              usage,
	}
	for _, c := range app.Commands {
		prepare(c)
	}
	args, err := cmdline.Order(cmdline.SpellOut(argv)[1:], app.Commands)
	if err != nil {
		return err
	}
	return app.RunContext(ctx, append([]string{"rbee"}, args...))
}

// commands are the keeper's commands at the top, and each role as one.
func commands() []*cli.Command {
	return append(keeper.Commands(), keeper.Command(), queen.Command(), hive.Command(), worker.Command())
}

// prepare makes a command and those below it fail as ours do.
func prepare(c *cli.Command) {
	c.OnUsageError, c.HideHelpCommand = usage, true
	for _, sub := range c.Subcommands {
		prepare(sub)
	}
}

// usage is what is wrong with a value of a flag; names are looked at before (cmdline.Order).
func usage(c *cli.Context, err error, _ bool) error {
	what := strings.Replace(err.Error(), "for flag -", "for flag --", 1)
	return &core.Fault{Kind: core.Invalid, What: what, Try: c.Command.HelpName + " --help", Cause: err}
}

// byCause returns the exit status of a run that ended in order: by itself, by a
// signal, by its lease, or because it was asked to.
func byCause(err error) (status int, ended bool) {
	if s, ok := errors.AsType[lease.SignalError](err); ok {
		return lease.ExitStatus(s), true
	}
	orderly := err == nil || errors.Is(err, cmdline.ErrAsked) || errors.Is(err, lease.ErrGone) || errors.Is(err, lease.ErrSilent)
	return 0, orderly
}

// report prints an error: what, the facts, the next step.
func report(w io.Writer, err error) {
	f := core.FaultOf(err)
	_, _ = fmt.Fprintln(w, "Error:", cmp.Or(f.What, err.Error()))
	for _, fact := range f.Facts {
		_, _ = fmt.Fprintf(w, "  %s: %s\n", fact.Name, fact.Value)
	}
	if f.Try != "" {
		_, _ = fmt.Fprintln(w, "Try:", f.Try)
	}
}
