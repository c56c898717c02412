// Package hive is the daemon of one machine: it starts and ends workers and
// keeps the catalog of models. It decides nothing: a queen does.
package hive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"rbee/catalog"
	"rbee/catalog/fetch"
	"rbee/core"
	"rbee/core/api"
	"rbee/core/beacon"
	"rbee/core/config"
	"rbee/core/lease"
	"rbee/core/machine"
	"rbee/core/pull"
	"rbee/core/secure"
	"rbee/roles/cmdline"
)

// Port is where hives listen.
const Port = 9200

// Command returns the role as one subcommand, "rbee hive …". Without a further
// word it is the daemon.
func Command() *cli.Command {
	return &cli.Command{
		Name: "hive", Usage: "the daemon of one machine, which starts and ends workers",
		Flags: daemonFlags(), Action: daemon,
		Subcommands: []*cli.Command{
			{Name: "daemon", Usage: "run until a signal, or the end of the lease", Flags: daemonFlags(), Action: daemon},
			{Name: "detect", Usage: "print what this machine has, as JSON", Action: detect},
			{Name: "find", Usage: "print where the hive of this user listens, as JSON", Action: find, Hidden: true},
			{
				Name: "stop", Usage: "end one hive of this machine, if it is still the same, and see that nothing of its run is left", Action: stop, Hidden: true,
				Flags: []cli.Flag{&cli.IntFlag{Name: "pid"}, &cli.Uint64Flag{Name: "started"}},
			},
		},
	}
}

func daemonFlags() []cli.Flag {
	return append(cmdline.DaemonFlags(fmt.Sprintf("127.0.0.1:%d", Port)),
		&cli.StringFlag{Name: "node", Usage: "the `NAME` of this machine", Value: "localhost"},
		&cli.StringSliceFlag{Name: "models-dir", Usage: "`DIRECTORY` whose files may be named in requests; may be repeated"},
		&cli.DurationFlag{Name: "idle-timeout", Usage: "after which a worker that nobody uses ends (default: 5m)"},
	)
}

// A hive is the daemon.
type hive struct {
	d       *cmdline.Daemon
	id      string // of this process
	node    core.NodeName
	url     string // as our own workers reach us
	catalog *catalog.Catalog
	dirs    []string
	idle    time.Duration
	gpus    *machine.GPUs // nil: none
	nursery nursery
	hashes  hashes
	report  reporter
	names   cmdline.ModelNames
	hubs    hubs
	fetcher *fetch.Fetcher
	pulls   *pull.Pulls[wish]

	measuring chan struct{} // holds one value while a measurement runs

	life context.Context //nolint:containedctx // of the workers, which outlives d.Ctx by the drain
	over context.CancelFunc
}

func daemon(c *cli.Context) error {
	return cmdline.Run(c, "hive", "rbee-hive", config.Limits.HiveStop, func(d *cmdline.Daemon) error { return serveHive(c, d) })
}

func serveHive(c *cli.Context, d *cmdline.Daemon) error {
	h, ln, err := newHive(c, d)
	if err != nil {
		return err
	}
	defer h.over()
	defer h.gpus.Close()
	unlight, err := h.sayUp(c, ln)
	if err != nil {
		return errors.Join(err, ln.Close(), h.catalog.Close())
	}
	defer unlight()
	d.Log.Info("hive up", "url", h.url, "node", string(h.node), "mode", string(d.Mode), "version", core.Version)
	err = d.Serve(ln, h.routes(), cmdline.Phases{
		Run:   []func(context.Context) error{h.hashAll, h.stopIdle, h.report.run},
		Drain: h.drain, End: h.end,
	})
	d.Log.Info("hive ended", "cause", fmt.Sprint(context.Cause(d.Ctx)))
	return errors.Join(err, h.catalog.Close())
}

// newHive binds the port and opens the catalog.
func newHive(c *cli.Context, d *cmdline.Daemon) (*hive, net.Listener, error) {
	h := &hive{d: d, id: "h-" + secure.RandomID(), node: core.NodeName(c.String("node")), dirs: append(c.StringSlice("models-dir"), d.Settings.ModelDirs...), measuring: make(chan struct{}, 1)}
	h.report = newReporter(h)
	h.report.heldBy(d.Boot)
	h.life, h.over = context.WithCancel(context.WithoutCancel(d.Ctx))
	h.names.File = d.Settings.Paths.Aliases
	h.fetcher = fetch.New(fetch.Options{Dir: d.Settings.Paths.Models(), Log: d.Log, Bandwidth: d.Settings.Models.Bandwidth})
	h.pulls = pull.New[wish](h.life)
	h.checkPins()
	if d.Boot.Node != "" {
		h.node = core.NodeName(d.Boot.Node)
	}
	if h.idle = d.Settings.Limits.Idle; c.IsSet("idle-timeout") {
		h.idle = c.Duration("idle-timeout")
	}
	ln, err := listen(c, d)
	if err != nil {
		return nil, nil, err
	}
	h.url = fmt.Sprintf("http://127.0.0.1:%d", cmdline.Port(ln))
	d.Hosts = append(d.Hosts, string(h.node), machine.Hostname())
	if err := lease.Adopt(); err != nil {
		d.Log.Warn("what workers leave behind is not adopted", "error", err.Error())
	}
	p := d.Settings.Paths
	h.catalog, err = catalog.Open(d.Ctx, catalog.Options{File: p.Catalog(), Models: p.Models(), State: p.State, Log: d.Log})
	if err != nil {
		return nil, nil, errors.Join(err, ln.Close())
	}
	if h.gpus, err = machine.OpenGPUs(d.Settings.NVML); err != nil {
		d.Log.Warn("no GPU is seen", "error", err.Error())
	}
	return h, ln, nil
}

// listen binds the address. Whoever started us over SSH could hand over no
// listener: then it is the next free port.
func listen(c *cli.Context, d *cmdline.Daemon) (net.Listener, error) {
	if c.String("lease") == "stdin" && !c.IsSet("listen") {
		ln, _, err := cmdline.NextFree(d.Ctx, Port)
		return ln, err
	}
	return d.Listen(c)
}

// sayUp says where the hive listens: in a line to the queen who started us over SSH,
// and in a file to one who comes later, if there can be one.
func (h *hive) sayUp(c *cli.Context, ln net.Listener) (takeBack func(), err error) {
	me, err := lease.Find(os.Getpid())
	if err != nil {
		return nil, err
	}
	up := api.Up{Port: cmdline.Port(ln), PID: me.PID, Started: me.Started, Version: core.Version, Instance: h.d.Instance}
	takeBack = func() {}
	if h.d.Mode == core.Persistent {
		if takeBack, err = beacon.Light(h.d.Settings.Paths.State, "hive", up); err != nil {
			return nil, err
		}
	}
	if c.String("lease") == "stdin" {
		err = json.NewEncoder(c.App.Writer).Encode(up)
	}
	return takeBack, err
}

// find is what a queen runs on a node to find the hive that runs there.
func find(c *cli.Context) error {
	s, err := cmdline.Settings()
	if err != nil {
		return err
	}
	up, ok := beacon.Find(s.Paths.State, "hive")
	if !ok {
		return nil // and no line
	}
	return json.NewEncoder(c.App.Writer).Encode(up)
}

func detect(c *cli.Context) error {
	s, err := cmdline.Settings()
	if err != nil {
		return err
	}
	gpus, broken := machine.OpenGPUs(s.NVML)
	has, err := capabilities(s.Paths, gpus)
	gpus.Close()
	if broken = errors.Join(broken, err); broken != nil {
		_, _ = fmt.Fprintln(c.App.ErrWriter, "Warning:", broken)
	}
	e := json.NewEncoder(c.App.Writer)
	e.SetIndent("", "  ")
	return e.Encode(has)
}

// capabilities are what the machine has. err names a GPU that cannot be seen.
func capabilities(p config.Paths, gpus *machine.GPUs) (api.Capabilities, error) {
	free, _ := machine.DiskFree(p.Models()) // 0 where the system does not say
	cards, err := gpus.Devices()
	return api.Capabilities{
		Hostname: machine.Hostname(), Version: core.Version, Devices: append([]core.Device{machine.CPU()}, cards...), DiskFreeBytes: free,
	}, err
}

// has is what this machine has for the hive's workers, within memory_max.
func (h *hive) has() api.Capabilities {
	a, err := capabilities(h.d.Settings.Paths, h.gpus)
	if err != nil {
		h.d.Log.Debug("a GPU is not seen", "error", err.Error())
	}
	if most := h.d.Settings.MemoryMax; most > 0 {
		free := max(most-h.nursery.taken(), 0)
		for i := range a.Devices {
			if d := &a.Devices[i]; d.Backend == core.CPU {
				d.MemoryTotalBytes, d.MemoryFreeBytes = min(d.MemoryTotalBytes, most), min(d.MemoryFreeBytes, free)
			}
		}
	}
	return a
}
