// Package worker is the process that runs one model on one device, and the
// engine's tools that need no server.
package worker

import (
	"context"
	"fmt"
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
		&cli.StringFlag{Name: "model", Usage: "`FILE` with the model, or embedded", Value: "embedded"},
		&cli.StringFlag{Name: "model-ref", Usage: "what the model is called"},
		&cli.StringFlag{Name: "model-sha256", Usage: "its hash, when it is known"},
		&cli.StringFlag{Name: "backend", Usage: "cpu or cuda", Value: "cpu"},
		&cli.IntFlag{Name: "device", Usage: "number of the device"},
		&cli.StringFlag{Name: "hive", Usage: "`URL` to call when the model is loaded"},
		&cli.StringFlag{Name: "worker-id", Usage: "the name of this worker"},
		&cli.StringFlag{Name: "node", Usage: "the name of this machine", Value: "localhost"},
		&cli.IntFlag{Name: "ctx", Usage: "tokens per sequence; 0: the model's, at most 8192"},
		&cli.IntFlag{Name: "slots", Usage: "answers at once", Value: 1},
		&cli.IntFlag{Name: "threads", Usage: "0: as many as there are cores"},
	)
}

// A server is one worker.
type server struct {
	d     *cmdline.Daemon
	opts  options
	state state
	jobs  jobs
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
		engine: "rbee " + core.Version, cpu: machine.Devices()[0].Name,
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
	d, err := cmdline.Begin(c, "worker", "llm-worker-rbee", func(l config.Limits) time.Duration { return l.WorkerStop + l.TermGrace })
	if err != nil {
		return err
	}
	ln, err := d.Listen(c)
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
	err = serve.Group(d.Ctx,
		func(ctx context.Context) error { return serve.HTTP(ctx, ln, s.routes(), 3*time.Second) },
		s.loadAndRun,
	)
	if cause := d.Finish(); err == nil {
		err = cause
	}
	return err
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
	w := c.Response()
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusAccepted)
	w.Flush()
	s.d.End(cmdline.ErrAsked)
	return nil
}

// jobs are the answers under way, by id.
type jobs struct {
	mu   sync.Mutex // guards all
	by   map[core.TaskID]context.CancelFunc
	last time.Time // when the last one ended
}

// idle is how long no job has been under way.
func (j *jobs) idle() time.Duration {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.by) > 0 || j.last.IsZero() {
		j.last = time.Now()
	}
	return time.Since(j.last)
}

// begin registers a job; it fails when the id is in use.
func (j *jobs) begin(ctx context.Context, id core.TaskID) (context.Context, func(), error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, twice := j.by[id]; twice {
		return nil, nil, &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("job %s is under way already", id)}
	}
	if j.by == nil {
		j.by = map[core.TaskID]context.CancelFunc{}
	}
	ctx, cancel := context.WithCancel(ctx)
	j.by[id] = cancel
	return ctx, func() {
		cancel()
		j.mu.Lock()
		defer j.mu.Unlock()
		delete(j.by, id)
		j.last = time.Now()
	}, nil
}

// cancel ends a job; one that is not there has ended.
func (j *jobs) cancel(id core.TaskID) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if cancel, ok := j.by[id]; ok {
		cancel()
	}
}

func (s *server) cancel(c echo.Context) error {
	s.jobs.cancel(core.TaskID(c.Param("id")))
	return c.NoContent(http.StatusNoContent)
}
