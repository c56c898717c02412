package queen

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/urfave/cli/v2"

	"rbee/core"
	"rbee/core/beacon"
	"rbee/core/client"
	"rbee/core/secure"
	"rbee/core/serve"
	"rbee/roles/cmdline"
)

// reapEnv names the children of the queen before to the one after: the kernel keeps
// them as hers, and she must wait for their ends.
const reapEnv = "RBEE_REAP"

// restart is POST /v1/restart: running answers are finished, then the program's file
// is executed anew. Callers who come meanwhile wait at the same socket.
func (q *queen) restart(c echo.Context) error {
	if q.d.Mode != core.Persistent {
		return &core.Fault{Kind: core.Unsupported, What: "only a persistent queen restarts"}
	}
	if err := runs(c.Request().Context()); err != nil {
		return err
	}
	serve.Accepted(c)
	q.d.End(cmdline.ErrHandover)
	return nil
}

// runs sees that the program's file can be executed as it is now: who has become
// another program cannot come back.
func runs(ctx context.Context) error {
	exe, err := os.Executable()
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		try := exec.CommandContext(ctx, exe)
		try.Args = []string{"rbee", "version"}
		err = try.Run()
	}
	if err == nil {
		return nil
	}
	why := err
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		why = at.Err // without the path
	}
	return &core.Fault{Kind: core.Unsupported, What: fmt.Sprintf("the program's file does not run: %v", why), Try: "put a whole one in its place", Cause: err}
}

// takeOver executes the program's file in this process, with the listener. It
// returns only if that fails.
func (q *queen) takeOver(ln *os.File) error {
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("queen: restart: %w", err)
	}
	fd := int(ln.Fd())
	if err := inherit(fd); err != nil {
		return fmt.Errorf("queen: restart: %w", err)
	}
	env := append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, reapEnv+"=") }), reapEnv+"="+strings.Join(q.fleet.children(), " "))
	err = syscall.Exec(exe, withListener(os.Args, fd), env)
	return fmt.Errorf("queen: restart: %s: %w", exe, err)
}

// withListener makes the listener the last word on --listen.
func withListener(args []string, fd int) []string {
	if n := len(args); n >= 2 && args[n-2] == "--listen" && strings.HasPrefix(args[n-1], "fd:") { // of a restart before
		args = args[:n-2]
	}
	return append(slices.Clone(args), "--listen", fmt.Sprintf("fd:%d", fd))
}

// inherit lets a descriptor live on in the program that is executed.
func inherit(fd int) error {
	_, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_SETFD, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// reap waits for the ends of the children that the queen before has left us, and
// returns their pids.
func reap() []string {
	pids := strings.Fields(os.Getenv(reapEnv))
	for _, word := range pids {
		pid, err := strconv.Atoi(word)
		if err != nil {
			continue
		}
		go func() { // ends with the child
			for {
				_, err := syscall.Wait4(pid, nil, 0, nil)
				if !errors.Is(err, syscall.EINTR) {
					return
				}
			}
		}()
	}
	_ = os.Unsetenv(reapEnv) // it is no business of our children
	return pids
}

func restartCommand() *cli.Command {
	return &cli.Command{
		Name: "restart", Usage: "let the queen that runs execute her program anew; hives and workers live on",
		Flags: []cli.Flag{&cli.StringFlag{Name: "token-file", Usage: "`FILE` with the token"}},
		Action: func(c *cli.Context) error {
			settings, err := cmdline.Settings()
			if err != nil {
				return err
			}
			token, err := secure.TokenIn(cmp.Or(c.String("token-file"), settings.TokenFile))
			if err != nil {
				return err
			}
			return restartThere(c, beacon.Port(settings.Paths.State, "queen", Port), token, settings.Limits.Drain+settings.Limits.QueenUp)
		},
	}
}

// restartThere has the queen of this machine restart, and waits until she is back.
func restartThere(c *cli.Context, port int, token string, most time.Duration) error {
	none := &core.Fault{Kind: core.NodeUnreachable, What: "no queen of yours runs on this machine", Try: "queen-rbee daemon &"}
	if !secure.Ours(port) {
		return none
	}
	q := client.New(fmt.Sprintf("http://127.0.0.1:%d", port), client.Options{Token: token})
	defer q.Close()
	before, err := q.Health(c.Context)
	if err != nil || before.Role != "queen" {
		return none
	}
	if err := q.Restart(c.Context); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(c.Context, most, &core.Fault{Kind: core.ConnectionTimeout, What: fmt.Sprintf("the queen is not back after %v", most), Try: "rbee status"})
	defer cancel()
	for {
		if now, err := q.Health(ctx); err == nil && now.Instance != before.Instance {
			_, err := fmt.Fprintf(c.App.Writer, "the queen is rbee %s now, was %s\n", now.Version, before.Version)
			return err
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
