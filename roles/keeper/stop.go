package keeper

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/beacon"
	"rbee/core/client"
	"rbee/core/lease"
	"rbee/core/secure"
	"rbee/roles/cmdline"
)

func stopCommand() *cli.Command {
	return &cli.Command{
		Name: "stop", Usage: "end the queen that runs and her whole pool, and prove it",
		Description: "Answers under way are finished first, for 30 s at most. What is left is named, and the exit status is 1.\n" +
			"With --all also a hive of yours without a queen, and what earlier runs may have left on this machine.",
		Flags:  []cli.Flag{queenFlag(), &cli.BoolFlag{Name: "all", Usage: "also what no queen holds"}},
		Action: stop,
	}
}

func stop(c *cli.Context) error {
	q, err := theQueen(c)
	if err != nil {
		return err
	}
	if q == nil && !c.Bool("all") {
		return &core.Fault{Kind: core.NodeUnreachable, What: "no queen of yours runs on this machine", Try: "rbee stop --all ends what no queen holds"}
	}
	var ended error
	if q != nil {
		defer q.Close()
		ended = stopQueen(c.Context, c, q)
	}
	if c.Bool("all") {
		ended = errors.Join(ended, stopHive(c.Context, c))
		stopLeftovers(c)
	}
	return ended
}

// stopQueen ends a queen and says of each node what is gone and what is left.
func stopQueen(ctx context.Context, c *cli.Context, q *client.Client) error {
	h, err := q.Health(ctx)
	if err != nil {
		return err
	}
	var failed []core.Fact
	whole := false
	err = q.Stop(ctx, func(e api.Ended) {
		if whole = whole || e.All; e.All {
			return
		}
		_, _ = fmt.Fprintln(c.App.Writer, proof(e))
		if e.Left > 0 {
			failed = append(failed, core.Text(string(e.Node), fmt.Sprintf("%d left: %s", e.Left, e.Error)))
		}
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !whole {
		return &core.Fault{Kind: core.NodeUnreachable, What: "the queen broke off before she had said what she ended", Cause: err, Try: "rbee stop --all"}
	}
	if !c.IsSet("queen") { // she is on this machine
		for _, p := range settled(h.Instance, 10*time.Second) {
			failed = append(failed, core.Text("left", fmt.Sprintf("%s, pid %d", p.Name, p.PID)))
		}
	}
	if len(failed) > 0 {
		return &core.Fault{Kind: core.Internal, What: "not everything has ended", Facts: failed, Try: "rbee stop --all"}
	}
	_, err = fmt.Fprintln(c.App.Writer, "queen gone, nothing left")
	return err
}

// proof is one line on a node.
func proof(e api.Ended) string {
	text := fmt.Sprintf("%s: hive %s, %d worker(s) gone", e.Node, e.Hive, e.Workers)
	if e.Bytes > 0 {
		text += " with " + size(e.Bytes)
	}
	if e.Before > 0 && e.After > 0 {
		text += fmt.Sprintf(", memory free %s → %s", size(e.Before), size(e.After))
	}
	if e.Error != "" {
		text += " (" + e.Error + ")"
	}
	return text
}

// hivePort is where a hive without a queen is looked for that has left no file.
const hivePort = 9200

// stopHive ends a hive of this user that runs without a queen.
func stopHive(ctx context.Context, c *cli.Context) error {
	settings, err := cmdline.Settings()
	if err != nil {
		return err
	}
	up, lit := beacon.Find(settings.Paths.State, "hive")
	if !lit {
		up.Port = hivePort
	}
	if !secure.Ours(up.Port) {
		return nil
	}
	token, err := secure.TokenIn(settings.TokenFile)
	if err != nil {
		return err
	}
	hive := client.New(fmt.Sprintf("http://127.0.0.1:%d", up.Port), client.Options{Token: token})
	defer hive.Close()
	probe, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	h, err := hive.Health(probe)
	if err != nil && lit && ctx.Err() == nil {
		return &core.Fault{Kind: core.Internal, What: fmt.Sprintf("the hive of pid %d does not answer", up.PID), Cause: err, Try: fmt.Sprintf("kill -KILL %d", up.PID)}
	}
	if err != nil || h.Role != "hive" {
		return nil // something else
	}
	if err := hive.Shutdown(ctx); err != nil {
		return err
	}
	return seeEnd(ctx, c, func() bool {
		if lit { // one that only says nothing is not gone
			return !lease.Proc{PID: up.PID, Started: up.Started}.Alive()
		}
		now, err := hive.Health(ctx)
		return err != nil || now.Instance != h.Instance
	})
}

// seeEnd waits until the hive is gone.
func seeEnd(ctx context.Context, c *cli.Context, gone func() bool) error {
	for end := time.Now().Add(10 * time.Second); ; {
		if gone() {
			_, err := fmt.Fprintln(c.App.Writer, "hive of this machine gone")
			return err
		}
		if time.Now().After(end) {
			return &core.Fault{Kind: core.Internal, What: "the hive of this machine does not end", Try: "rbee logs"}
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// stopLeftovers ends what carries the mark of any run and has lost its parent.
func stopLeftovers(c *cli.Context) {
	for _, p := range lease.Orphans() {
		_ = p.Signal(syscall.SIGTERM)
		gone := false
		for end := time.Now().Add(10 * time.Second); !gone && time.Now().Before(end); <-time.After(10 * time.Millisecond) {
			gone = !p.Alive()
		}
		if !gone {
			_ = p.Signal(syscall.SIGKILL)
		}
		_, _ = fmt.Fprintf(c.App.Writer, "%s, pid %d, gone\n", p.Name, p.PID)
	}
}
