// Package queen is the one place of decisions: it brings hives up, chooses where
// an answer is made, and relays it.
package queen

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/config"
	"rbee/core/machine"
	"rbee/core/serve"
	"rbee/registry"
	"rbee/roles/cmdline"
)

// Port is where queens listen.
const Port = 8080

// Command returns the role as one subcommand, "rbee queen …". Without a further
// word it is the daemon.
func Command() *cli.Command {
	return &cli.Command{
		Name: "queen", Usage: "the daemon that decides where an answer is made",
		Flags: daemonFlags(), Action: daemon,
		Subcommands: []*cli.Command{{Name: "daemon", Usage: "run until a signal, or the end of the lease", Flags: daemonFlags(), Action: daemon}},
	}
}

func daemonFlags() []cli.Flag {
	return append(cmdline.DaemonFlags(fmt.Sprintf("127.0.0.1:%d", Port)),
		&cli.StringFlag{Name: "config-ssh", Usage: "`FILE` to use as ssh_config", Hidden: true},
		&cli.IntFlag{Name: "queue", Usage: "tasks that may wait for a slot", Value: 64},
		&cli.StringSliceFlag{Name: "models-dir", Usage: "`DIRECTORY` whose files may be named in requests; may be repeated"},
	)
}

// A queen is the daemon.
type queen struct {
	d      *cmdline.Daemon
	port   int
	token  string // of our hives and workers
	dirs   []string
	slots  int // of a worker
	fleet  fleet
	known  registry.Registry
	tasks  tasks
	files  imported
	queue  queue
	report io.Writer // where an ephemeral queen says what she ended
}

func daemon(c *cli.Context) error {
	d, err := cmdline.Begin(c, "queen", "queen-rbee", config.Limits.QueenStop)
	if err != nil {
		return err
	}
	ln, err := d.Listen(c)
	if err != nil {
		return err
	}
	q := newQueen(c, d)
	q.port = cmdline.Port(ln)
	d.Hosts = append(d.Hosts, machine.Hostname())
	d.Log.Info("queen up", "port", q.port, "mode", string(d.Mode), "version", core.Version)
	// Tasks and hives outlive the first signal by the time of their orderly end.
	base, stop := context.WithCancel(context.WithoutCancel(d.Ctx))
	defer stop()
	q.tasks.base, q.fleet.base = base, base //nolint:fatcontext // the lifetime of tasks and nodes, not of a call
	err = serve.Group(d.Ctx,
		func(ctx context.Context) error { return serve.HTTP(ctx, ln, q.routes(), d.Settings.Limits.QueenStop()) },
		func(ctx context.Context) error {
			<-ctx.Done()
			q.end(stop) //nolint:contextcheck // the end has its own time
			return nil
		},
	)
	d.Log.Info("queen ended", "cause", fmt.Sprint(context.Cause(d.Ctx)))
	if cause := d.Finish(); err == nil {
		err = cause
	}
	return err
}

func newQueen(c *cli.Context, d *cmdline.Daemon) *queen {
	q := &queen{
		d: d, token: d.Token, dirs: append(c.StringSlice("models-dir"), d.Settings.ModelDirs...),
		slots: 1, report: c.App.Writer, queue: queue{limit: c.Int("queue")},
	}
	if d.Mode == core.Persistent {
		q.slots = 4 // one answer is all that an ephemeral queen is for
		q.report = io.Discard
	}
	q.fleet.q, q.fleet.sshConfig = q, c.String("config-ssh")
	return q
}

// end drains the tasks and ends every hive, all at once.
func (q *queen) end(stop context.CancelFunc) {
	if q.d.Mode == core.Persistent {
		q.tasks.drain(q.d.Settings.Limits.Drain)
	}
	q.tasks.endAll(&core.Fault{Kind: core.ShuttingDown, What: "the queen is ending"})
	say := json.NewEncoder(q.report)
	var one sync.Mutex
	q.fleet.endAll(func(e api.Ended) {
		one.Lock()
		defer one.Unlock()
		_ = say.Encode(e) // the keeper may be gone
	})
	stop()
	q.tasks.running.Wait()
}

// A queue bounds how many tasks wait for a slot.
type queue struct {
	limit int

	mu      sync.Mutex // guards waiting and freed
	waiting int
	freed   chan struct{} // closed when a slot is given back
}

// enter takes a place; the returned function gives it back.
func (q *queue) enter() (place int, leave func(), err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting >= q.limit {
		return 0, nil, &core.Fault{
			Kind: core.QueueFull, What: fmt.Sprintf("%d tasks are waiting already", q.waiting),
			Facts: []core.Fact{core.Number("queue", int64(q.limit))},
		}
	}
	q.waiting++
	return q.waiting, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.waiting--
	}, nil
}

// wait returns when a slot is given back somewhere, after d, or when ctx is done.
func (q *queue) wait(ctx context.Context, d time.Duration) error {
	q.mu.Lock()
	if q.freed == nil {
		q.freed = make(chan struct{})
	}
	freed := q.freed
	q.mu.Unlock()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-freed:
		return nil
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// release wakes whoever waits.
func (q *queue) release() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.freed != nil {
		close(q.freed)
		q.freed = nil
	}
}
