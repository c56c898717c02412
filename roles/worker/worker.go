// Package worker is the process that runs one model on one device, and the
// engine's tools that need no server.
package worker

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/urfave/cli/v2"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/config"
	"rbee/core/machine"
	"rbee/core/secure"
	"rbee/core/serve"
	"rbee/inference"
	"rbee/roles/cmdline"
)

// Command returns the role as one subcommand, "rbee worker …". Without a further
// word it serves.
func Command() *cli.Command {
	return &cli.Command{
		Name: "worker", Usage: "run one model on one device, or the engine's tools",
		Flags: serveFlags(), Action: serveModel,
		Subcommands: []*cli.Command{
			{Name: "serve", Usage: "serve one model over HTTP", Flags: serveFlags(), Action: serveModel},
			runCommand(), tokenizeCommand(), detokenizeCommand(), templateCommand(),
			inspectCommand(), benchCommand(), perplexityCommand(), dequantizeCommand(), embedCommand(), verifyCommand(),
		},
	}
}

func serveFlags() []cli.Flag {
	return append(cmdline.DaemonFlags("127.0.0.1:8001"),
		&cli.IntFlag{Name: "port", Usage: "of this machine's loopback to listen on (default: 8001, or the next free one)"},
		&cli.StringFlag{Name: "model", Usage: "`FILE` with the model, or embedded", Value: "embedded"},
		&cli.StringFlag{Name: "model-ref", Usage: "what the model is called"},
		&cli.StringFlag{Name: "model-sha256", Usage: "its hash, when it is known"},
		&cli.StringFlag{Name: "backend", Usage: "cpu", Value: "cpu"},
		&cli.IntFlag{Name: "device", Usage: "number of the device"},
		&cli.StringFlag{Name: "hive", Usage: "`URL` to call when the model is loaded"},
		&cli.StringFlag{Name: "worker-id", Usage: "the name of this worker"},
		&cli.StringFlag{Name: "node", Usage: "the name of this machine", Value: "localhost"},
		&cli.IntFlag{Name: "ctx", Usage: "tokens per sequence; 0: the model's, at most 8192"},
		&cli.IntFlag{Name: "slots", Usage: "answers at once", Value: 4},
		&cli.IntFlag{Name: "threads", Usage: "0: as many as there are cores"},
	)
}

// A server is one worker.
type server struct {
	d     *cmdline.Daemon
	opts  options
	state state
	jobs  jobs

	sha struct {
		mu     sync.Mutex // guards loaded and opts.sha
		loaded stamp      // the file when it was loaded
	}
}

// options are the flags.
type options struct {
	model, sha  string
	ref         core.ModelRef
	backend     core.Backend
	device      int
	hive        string
	id          core.WorkerID
	node        core.NodeName
	ctx, slots  int
	threads     int
	url         string // of this worker, with the node's name
	engine, cpu string
}

func readOptions(c *cli.Context) (options, error) {
	o := options{
		model: c.String("model"), sha: c.String("model-sha256"), ref: core.ModelRef(c.String("model-ref")),
		backend: core.Backend(c.String("backend")), device: c.Int("device"), hive: c.String("hive"),
		id: core.WorkerID(c.String("worker-id")), node: core.NodeName(c.String("node")),
		ctx: c.Int("ctx"), slots: c.Int("slots"), threads: c.Int("threads"),
		engine: "rbee " + core.Version, cpu: machine.CPU().Name,
	}
	if o.ref == "" {
		o.ref = core.ModelRef("file:" + o.model)
		if o.model == string(core.Embedded) {
			o.ref = core.Embedded
		}
	}
	if o.id == "" {
		o.id = core.WorkerID("w-" + secure.RandomID()[:8])
	}
	if o.threads <= 0 {
		o.threads = machine.UsableCores()
	}
	if o.threads > mostThreads {
		return o, &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("--threads %d: want 0 to %d", o.threads, mostThreads)}
	}
	if o.ctx < 0 || o.slots < 1 {
		return o, &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("--ctx %d --slots %d: want a context from 0 and slots from 1 on", o.ctx, o.slots)}
	}
	return o, checkBackend(o.backend, o.device)
}

// checkBackend refuses what this build cannot compute on: never another device
// than the one asked for.
func checkBackend(b core.Backend, device int) error {
	if b != core.CPU {
		return &core.Fault{Kind: core.BackendUnavailable, What: fmt.Sprintf("backend %q is not in this build, only cpu", b), Try: "leave --backend out"}
	}
	if device != 0 {
		return &core.Fault{Kind: core.BackendUnavailable, What: fmt.Sprintf("there is no cpu device %d, only 0", device)}
	}
	return nil
}

// serveModel is the action: HTTP first, then the model.
func serveModel(c *cli.Context) error {
	o, err := readOptions(c)
	if err != nil {
		return err
	}
	stop := func(l config.Limits) time.Duration { return l.WorkerStop + l.TermGrace }
	return cmdline.Run(c, "worker", "llm-worker-rbee", stop, func(d *cmdline.Daemon) error { return serveOn(c, d, o) })
}

// listen binds --listen, --port, or the first free port.
func listen(c *cli.Context, d *cmdline.Daemon) (net.Listener, error) {
	switch {
	case c.IsSet("listen"):
		return d.Listen(c)
	case c.IsSet("port"):
		return d.ListenAt(fmt.Sprintf("127.0.0.1:%d", c.Int("port")))
	}
	ln, _, err := cmdline.NextFree(d.Ctx, 8001)
	return ln, err
}

// serveOn serves until the daemon's end.
func serveOn(c *cli.Context, d *cmdline.Daemon, o options) error {
	ln, err := listen(c, d)
	if err != nil {
		return err
	}
	if o.model == inference.Embedded {
		o.sha = inference.EmbeddedSHA256()
	}
	o.url = fmt.Sprintf("http://%s:%d", o.node, cmdline.Port(ln))
	d.Hosts = append(d.Hosts, string(o.node), machine.Hostname())
	s := &server{d: d, opts: o}
	d.Log.Info("worker up", "worker_id", string(o.id), "url", o.url, "model", string(o.ref))
	return d.Serve(ln, s.routes(), cmdline.Phases{Run: []func(context.Context) error{s.loadAndRun}, Drain: s.jobs.drained})
}

func (s *server) routes() *echo.Echo {
	e := serve.New(serve.Options{
		Health: api.Health{Role: "worker", Mode: s.d.Mode, Version: core.Version, Instance: s.d.Instance},
		Token:  s.d.Token, Hosts: s.d.Hosts, Log: s.d.Log,
	})
	e.GET("/v1/ready", s.ready)
	e.GET("/ready", s.probe)
	e.GET("/v1/loading/progress", s.progress)
	e.POST("/execute", s.execute)
	e.DELETE("/execute/:id", s.cancel)
	e.POST("/v1/tokenize", s.tokenize)
	e.POST("/v1/shutdown", s.shutdown)
	return e
}

// shutdown answers before the end begins, so that the answer arrives.
func (s *server) shutdown(c echo.Context) error {
	var r api.ShutdownRequest
	if _, err := serve.OptionalBody(c, &r); err != nil {
		return err
	}
	if !s.jobs.close(time.Duration(r.IfIdleMS) * time.Millisecond) {
		return &core.Fault{Kind: core.WorkerBusy, What: "the worker is in use"}
	}
	serve.Accepted(c)
	drain, cancel := context.WithTimeout(s.d.Ctx, time.Duration(r.DrainMS)*time.Millisecond)
	defer cancel()
	s.jobs.drained(drain)
	s.d.End(cmdline.ErrAsked)
	return nil
}

func (s *server) cancel(c echo.Context) error {
	s.jobs.cancel(core.TaskID(c.Param("id")))
	return c.NoContent(http.StatusNoContent)
}
