// Package queen is the one place of decisions: it brings hives up, chooses where
// an answer is made, and relays it.
package queen

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/beacon"
	"rbee/core/config"
	"rbee/core/lease"
	"rbee/core/machine"
	"rbee/core/pull"
	"rbee/core/secure"
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
		Subcommands: []*cli.Command{
			{Name: "daemon", Usage: "run until a signal, or the end of the lease", Flags: daemonFlags(), Action: daemon},
			restartCommand(),
		},
	}
}

func daemonFlags() []cli.Flag {
	return append(cmdline.DaemonFlags(fmt.Sprintf("127.0.0.1:%d", Port)),
		&cli.StringSliceFlag{Name: "node", Usage: "`NAME` of a machine whose hive is to be always up, besides this one and those of the config; may be repeated"},
		&cli.StringFlag{Name: "config", Usage: "`FILE` with settings, also for what is started"},
		&cli.DurationFlag{Name: "idle-timeout", Usage: "after which a worker that nobody uses ends (default: 5m)"},
		&cli.StringFlag{Name: "config-ssh", Usage: "`FILE` to use as ssh_config", Hidden: true},
		&cli.IntFlag{Name: "queue", Usage: "tasks that may wait for a slot", Value: 64},
		&cli.StringSliceFlag{Name: "models-dir", Usage: "`DIRECTORY` whose files may be named in requests; may be repeated"},
	)
}

// A queen is the daemon.
type queen struct {
	d         *cmdline.Daemon
	port      int
	token     string // of workers, and of hives that we start
	dirs      []string
	slots     int // of a worker
	fleet     fleet
	pool      pool
	hives     registry.Hives // as they report themselves
	sizes     sizes
	tasks     tasks
	files     imported
	names     cmdline.ModelNames
	hashes    hashes
	pulls     *pull.Pulls[delivery]
	fetching  turns[core.ModelRef] // over the pool: from the hub
	queue     queue
	report    io.Writer   // where an ephemeral queen says what she ended
	farewell  *lease.Kept // the same, for who has asked for the end
	farewells sync.Once

	operator string   // the token of this user's own daemons; empty: none
	hiveArgs []string // of hives that we start
}

func daemon(c *cli.Context) error {
	if err := useConfig(c); err != nil {
		return err
	}
	return cmdline.Run(c, "queen", "queen-rbee", config.Limits.QueenStop, func(d *cmdline.Daemon) error { return serveQueen(c, d) })
}

func serveQueen(c *cli.Context, d *cmdline.Daemon) error {
	ln, err := d.Listen(c)
	if err != nil {
		return err
	}
	q, err := newQueen(c, d)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	q.port = cmdline.Port(ln)
	d.Hosts = append(d.Hosts, machine.Hostname())
	d.Log.Info("queen up", "port", q.port, "mode", string(d.Mode), "version", core.Version)
	// Tasks and hives outlive the first signal by the time of the orderly end.
	base, over := context.WithCancel(context.WithoutCancel(d.Ctx))
	defer over()
	q.tasks.base, q.fleet.base = base, base //nolint:fatcontext // the lifetime of tasks and nodes, not of a call
	q.pulls = pull.New[delivery](base)
	if d.Mode == core.Persistent {
		takeBack, err := q.light()
		if err != nil {
			return errors.Join(err, ln.Close())
		}
		defer takeBack()
		q.fleet.inherited = reap()
		q.fleet.keepUp(d.Ctx)
	}
	same, err := ln.(*net.TCPListener).File() // the same socket, for who takes over
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	defer same.Close()
	err = d.Serve(ln, q.routes(), cmdline.Phases{Drain: q.tasks.drain, End: q.end})
	d.Log.Info("queen ended", "cause", fmt.Sprint(context.Cause(d.Ctx)))
	if d.HandsOver() {
		d.LogTo.Flush(200 * time.Millisecond)
		return q.takeOver(same)
	}
	q.endHives() // if a signal came when they had been spared
	return err
}

// light lets the user's commands find the queen on whatever port she has.
func (q *queen) light() (takeBack func(), err error) {
	me, err := lease.Find(os.Getpid())
	if err != nil {
		return nil, err
	}
	return beacon.Light(q.d.Settings.Paths.State, "queen", api.Up{Port: q.port, PID: me.PID, Started: me.Started, Version: core.Version, Instance: q.d.Instance})
}

// useConfig makes --config the file of this process and of those it starts.
func useConfig(c *cli.Context) error {
	if !c.IsSet("config") {
		return nil
	}
	path, err := filepath.Abs(c.String("config"))
	if err != nil {
		return fmt.Errorf("queen: --config: %w", err)
	}
	return os.Setenv("RBEE_CONFIG", path)
}

func newQueen(c *cli.Context, d *cmdline.Daemon) (*queen, error) {
	q := &queen{
		d: d, token: d.Token,
		slots: 1, report: c.App.Writer, farewell: lease.NewKept(10_000), queue: queue{limit: c.Int("queue")},
	}
	if d.Mode == core.Persistent {
		q.slots = 4 // one answer is all that an ephemeral queen is for
		q.report = io.Discard
	}
	q.names.File = d.Settings.Paths.Aliases
	q.fleet.q, q.pool.q, q.fleet.sshConfig = q, q, c.String("config-ssh")
	q.fleet.always(slices.Concat(slices.Sorted(maps.Keys(d.Settings.Nodes)), c.StringSlice("node")))
	if c.IsSet("idle-timeout") {
		q.hiveArgs = []string{"--idle-timeout", c.Duration("idle-timeout").String()}
	}
	for _, dir := range append(c.StringSlice("models-dir"), d.Settings.ModelDirs...) {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, fmt.Errorf("queen: --models-dir: %w", err)
		}
		q.dirs = append(q.dirs, abs)
	}
	var err error
	q.operator, err = secure.TokenIn(cmp.Or(c.String("token-file"), d.Settings.TokenFile))
	return q, err
}

// end ends every task and then every hive, all at once.
func (q *queen) end(context.Context) {
	q.tasks.endAll(errEnding)
	q.pulls.End(errEnding)
	q.fleet.keepers.Wait()
	if q.d.HandsOver() {
		return // hives and workers stay
	}
	q.endHives()
}

// endHives ends those that there are, all at once, and says so, once.
func (q *queen) endHives() { q.farewells.Do(q.sayFarewell) }

func (q *queen) sayFarewell() {
	say := json.NewEncoder(io.MultiWriter(q.farewell, q.report))
	var one sync.Mutex
	q.fleet.endAll(func(e api.Ended) {
		one.Lock()
		defer one.Unlock()
		_ = say.Encode(e) // the keeper may be gone
	})
	_ = say.Encode(api.Ended{All: true})
}

// A queue bounds how many tasks wait for a slot.
type queue struct {
	limit int

	mu      sync.Mutex // guards waiting and freed
	waiting int
	freed   chan struct{} // closed when a slot is given back
}

// full is the fault of a queue without a place, nil as long as there is one.
func (q *queue) full() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.check()
}

func (q *queue) check() error {
	if q.waiting < q.limit {
		return nil
	}
	return &core.Fault{
		Kind: core.QueueFull, What: fmt.Sprintf("%d tasks are waiting already", q.waiting),
		Facts: []core.Fact{core.Number("queue", int64(q.limit))},
	}
}

// enter takes a place; the returned function gives it back.
func (q *queue) enter() (place int, leave func(), err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.check(); err != nil {
		return 0, nil, err
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
