package keeper

import (
	"context"
	"errors"
	"fmt"
	"strings"
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
		ended = errors.Join(ended, stopLeftovers(c))
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
	files, roots, err := lit(h.Instance)
	if err != nil {
		return err
	}
	before := lease.Count(h.Instance, 0, roots...)
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
	here := !c.IsSet("queen") // else the processes of this machine are not hers
	if here {
		failed = append(failed, leftOf(before, files)...)
	}
	if len(failed) > 0 {
		return &core.Fault{Kind: core.Internal, What: "not everything has ended", Facts: failed, Try: "rbee stop --all"}
	}
	gone := "queen gone, nothing left"
	if here {
		gone = fmt.Sprintf("queen gone, nothing left of %d processes here, %s", len(before.Procs), closed(before.Ports()))
	}
	_, err = fmt.Fprintln(c.App.Writer, gone)
	return err
}

// lit are the files by which the daemons of a run are found, and these daemons.
func lit(run string) (files map[string]api.Up, daemons []lease.Proc, err error) {
	settings, err := cmdline.Settings()
	if err != nil {
		return nil, nil, err
	}
	files = map[string]api.Up{}
	for _, name := range []string{"queen", "hive"} {
		if up, ok := beacon.Find(settings.Paths.State, name); ok && up.Instance == run {
			files[beacon.File(settings.Paths.State, name)] = up
			daemons = append(daemons, lease.Proc{PID: up.PID, Started: up.Started})
		}
	}
	return files, daemons, nil
}

// leftOf names what is left of a census, and files that its daemons have left.
func leftOf(before lease.Census, files map[string]api.Up) (failed []core.Fact) {
	for _, text := range described(settled(before, 10*time.Second)) {
		failed = append(failed, core.Text("left", text))
	}
	for file, up := range files {
		if beacon.Names(file, up) {
			failed = append(failed, core.Text("left", file))
		}
	}
	return failed
}

// closed says which ports are listened on no more.
func closed(ports []int) string {
	if len(ports) == 0 {
		return "no port was open"
	}
	word := "ports "
	if len(ports) == 1 {
		word = "port "
	}
	return word + strings.Trim(fmt.Sprint(ports), "[]") + " closed"
}

// workers is how many there are, in words.
func workers(n int) string {
	if n == 1 {
		return "1 worker"
	}
	return fmt.Sprintf("%d workers", n)
}

// memoryFree is what a machine and its GPUs had free before and after.
func memoryFree(e api.Ended) string {
	var list []string
	if e.Before > 0 && e.After > 0 {
		list = append(list, fmt.Sprintf("memory free %s → %s", size(e.Before), size(e.After)))
	}
	for _, d := range e.Devices {
		list = append(list, fmt.Sprintf("GPU %d free %s → %s", d.Device, size(d.Before), size(d.After)))
	}
	return strings.Join(list, ", ")
}

// proof is one line on a node.
func proof(e api.Ended) string {
	text := fmt.Sprintf("%s: hive %s, %s gone", e.Node, e.Hive, workers(e.Workers))
	if e.Bytes > 0 {
		text += " with " + size(e.Bytes)
	}
	if e.Processes > 0 {
		text += fmt.Sprintf(", %d processes, %s", e.Processes, closed(e.Ports))
	}
	if free := memoryFree(e); free != "" {
		text += ", " + free
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
	up, there := beacon.Find(settings.Paths.State, "hive")
	if !there {
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
	if err != nil && there && ctx.Err() == nil {
		return &core.Fault{Kind: core.Internal, What: fmt.Sprintf("the hive of pid %d does not answer", up.PID), Cause: err, Try: fmt.Sprintf("kill -KILL %d", up.PID)}
	}
	if err != nil || h.Role != "hive" {
		return nil // something else
	}
	gone := func() bool {
		if there { // one that only says nothing is not gone
			return !lease.Proc{PID: up.PID, Started: up.Started}.Alive()
		}
		now, err := hive.Health(ctx)
		return err != nil || now.Instance != h.Instance
	}
	return endHive(ctx, c, hive, h.Instance, gone)
}

// endHive ends a hive that was found, and proves it.
func endHive(ctx context.Context, c *cli.Context, hive *client.Client, run string, gone func() bool) error {
	files, roots, err := lit(run)
	if err != nil {
		return err
	}
	before := lease.Count(run, 0, roots...)
	if err := hive.Shutdown(ctx); err != nil {
		return err
	}
	if err := seeEnd(ctx, c, gone); err != nil {
		return err
	}
	if left := leftOf(before, files); len(left) > 0 {
		return &core.Fault{Kind: core.Internal, What: "not everything of the hive has ended", Facts: left}
	}
	return nil
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
func stopLeftovers(c *cli.Context) error {
	var left []core.Fact
	for _, p := range lease.Orphans() {
		said := p.Describe()
		_ = p.Signal(syscall.SIGTERM) // it may be gone by now
		if !ends(p.Proc) {
			_ = p.Signal(syscall.SIGKILL)
		}
		if !ends(p.Proc) {
			left = append(left, core.Text("left", said))
			continue
		}
		_, _ = fmt.Fprintf(c.App.Writer, "%s, gone\n", said)
	}
	if len(left) > 0 {
		return &core.Fault{Kind: core.Internal, What: "not everything of earlier runs has ended", Facts: left}
	}
	return nil
}

// ends waits until a process is gone, for ten seconds at most.
func ends(p lease.Proc) bool {
	for end := time.Now().Add(10 * time.Second); p.Alive(); <-time.After(10 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}
