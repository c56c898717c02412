// Package roles picks the role this process plays and runs it.
package roles

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"rbee/core"
	"rbee/roles/keeper"
)

// Stdio is where a role reads and writes.
type Stdio struct {
	In       io.Reader
	Out, Err io.Writer
}

// Main runs argv as one of the roles and returns the exit status.
func Main(ctx context.Context, argv []string, std Stdio) int {
	app := &cli.App{
		Name:      "rbee",
		Usage:     "run language models on the machines you have",
		Reader:    std.In,
		Writer:    std.Out,
		ErrWriter: std.Err,
		Commands:  append(keeper.Commands(), keeper.Command()),
		// Return errors instead of exiting: main decides the status.
		ExitErrHandler: func(*cli.Context, error) {},
	}
	err := app.RunContext(ctx, spellOut(argv))
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return bySignal(context.Cause(ctx))
	case errors.Is(err, core.Invalid):
		fmt.Fprintln(std.Err, "Error:", err)
		return 2
	default:
		fmt.Fprintln(std.Err, "Error:", err)
		return 1
	}
}

// bySignal returns the exit status of a run that the signal in cause ended.
func bySignal(cause error) int {
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGTERM} {
		if strings.HasPrefix(cause.Error(), sig.String()) {
			return 128 + int(sig)
		}
	}
	return 128 + int(syscall.SIGINT)
}

// byName says which role each name of the executable plays.
var byName = map[string]string{
	"rbee-keeper":     "keeper",
	"queen-rbee":      "queen",
	"rbee-queen":      "queen",
	"rbee-hive":       "hive",
	"llm-worker-rbee": "worker",
	"rbee-worker":     "worker",
}

// spellOut turns the busybox form into the subcommand form, so that there is
// one dispatcher: "rbee-hive daemon" becomes "rbee hive daemon". Under any other
// name, such as "rbee-linux-amd64", the role is the first argument.
func spellOut(argv []string) []string {
	name := strings.TrimSuffix(filepath.Base(argv[0]), ".exe")
	if role, ok := byName[name]; ok {
		return append([]string{"rbee", role}, argv[1:]...)
	}
	return append([]string{"rbee"}, argv[1:]...)
}
