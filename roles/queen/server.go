package queen

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/client"
	"rbee/core/serve"
	"rbee/registry"
)

func (q *queen) routes() *echo.Echo {
	e := serve.New(serve.Options{
		Health: api.Health{Role: "queen", Mode: q.d.Mode, Version: core.Version, Instance: q.d.Instance},
		Token:  q.d.Token, Hosts: q.d.Hosts, Log: q.d.Log, OwnErrors: openAIErrors,
	})
	e.GET("/ready", func(c echo.Context) error { return c.JSON(http.StatusOK, api.Message{Message: "ready"}) })
	e.POST("/v2/tasks", q.postTask)
	e.GET("/v2/tasks", q.listTasks)
	e.GET("/v2/tasks/:id", q.getTask)
	e.GET("/v2/tasks/:id/events", q.taskEvents)
	e.DELETE("/v2/tasks/:id", q.deleteTask)
	e.GET("/v2/hives", q.listHives)
	e.POST("/v2/hives/join", q.joinHive)
	e.POST("/v2/hives/:id/heartbeat", q.heartbeat)
	e.GET("/v2/workers", q.listWorkers)
	e.POST("/v2/workers", q.loadWorker)
	e.POST("/v2/bench", q.postBench)
	e.GET("/v2/where", q.where)
	e.GET("/v2/logs", q.logs)
	e.POST("/v1/shutdown", q.shutdown)
	e.POST("/v1/restart", q.restart)
	e.DELETE("/v2/workers/:id", q.deleteWorker)
	e.GET("/v2/models", q.listModels)
	e.GET("/v2/models/found", q.foundModels)
	e.POST("/v2/models/import", q.importModel)
	e.POST("/v2/models/pull", q.pull)
	e.GET("/v2/models/sources", q.sources)
	e.POST("/v2/models/verify", q.verifyModels)
	e.POST("/v2/models/gc", q.collectModels)
	e.GET("/v2/models/:ref", q.showModel)
	e.DELETE("/v2/models/:ref", q.removeModel)
	e.GET("/v1/blobs/:hash", q.getBlob)
	e.HEAD("/v1/blobs/:hash", q.getBlob)
	e.POST("/v1/orchestrator/worker-ready", q.workerReady)
	q.openAIRoutes(e)
	return e
}

// postTask begins a task and streams its events, or answers with its result.
func (q *queen) postTask(c echo.Context) error {
	var r api.TaskRequest
	if err := serve.Body(c, &r); err != nil {
		return err
	}
	if err := r.Validate(); err != nil {
		return err
	}
	t, err := q.begin(c, r)
	if err != nil {
		return err
	}
	defer t.read()()
	if r.Streamed() {
		return stream(c, t, 0)
	}
	out, err := collect(c.Request().Context(), t, nil)
	if err != nil {
		return fail(c, err)
	}
	return c.JSON(http.StatusOK, out)
}

// begin starts a task. What is wrong before anything is done is an error with a
// status: the model, a full queue, the queen's end.
func (q *queen) begin(c echo.Context, r api.TaskRequest) (*task, error) {
	var err error
	if r.Model, err = q.resolve(c.Request().Context(), r.Model); err != nil {
		return nil, err
	}
	trace, err := traceOf(c)
	if err != nil {
		return nil, err
	}
	if err := q.queue.full(); err != nil {
		return nil, fail(c, err)
	}
	return q.tasks.start(r, trace, q.run)
}

var parentForm = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

// traceOf is what a request brings for the calls that it makes necessary.
func traceOf(c echo.Context) (client.Trace, error) {
	h := c.Request().Header
	t := client.Trace{Correlation: serve.Correlation(c)}
	if parent := h.Get(api.HeaderParent); parentForm.MatchString(parent) {
		t.Parent = parent
	}
	if at := h.Get(api.HeaderDeadline); at != "" {
		ms, err := strconv.ParseInt(at, 10, 64)
		if err != nil {
			return t, &core.Fault{Kind: core.Invalid, What: api.HeaderDeadline + ": want unix milliseconds"}
		}
		t.Deadline = time.UnixMilli(ms)
	}
	return t, nil
}

// statusReaderGone is for the log: nobody reads the answer.
const statusReaderGone = 499

// fail completes an error: a queue says when to come again, and a reader who has
// left is no failure of ours.
func fail(c echo.Context, err error) error {
	if c.Request().Context().Err() != nil {
		return c.NoContent(statusReaderGone)
	}
	if errors.Is(err, core.QueueFull) {
		c.Response().Header().Set("Retry-After", "5")
	}
	return err
}

// quiet is after how long without an event a comment is written.
const quiet = 5 * time.Second

// stream writes the task's events as they come.
func stream(c echo.Context, t *task, last int64) error {
	out := api.NewStream(c.Response())
	ctx, cancel := context.WithCancel(c.Request().Context())
	var alive sync.WaitGroup
	defer alive.Wait()
	defer cancel()
	alive.Go(func() { out.KeepAlive(ctx, quiet, func() string { return "working" }) })
	err := t.batches(ctx, last, func(ev api.Numbered) error { return out.Put(ev.ID, ev.Event) }, out.Flush)
	if errors.Is(err, errOvertaken) {
		err = out.Send(api.Fail(err, 0))
	}
	if err != nil {
		return nil // the reader is gone
	}
	return out.Done()
}

// collect waits for the task's end and returns its whole answer. each, if not nil,
// sees every token.
func collect(ctx context.Context, t *task, each func(*api.Token)) (out api.TaskResult, err error) {
	var text strings.Builder
	var failed error
	err = t.follow(ctx, 0, func(ev api.Numbered) error {
		switch ev := ev.Event.(type) {
		case *api.Sealed:
			tok, err := ev.Token()
			if err != nil {
				return err
			}
			text.WriteString(tok.Text)
			if each != nil {
				each(tok)
			}
		case *api.End:
			out.End = *ev
		case *api.Failure:
			failed = ev.Err()
		}
		return nil
	})
	out.Text = text.String()
	if failed != nil {
		err = failed
	}
	return out, err
}

func (q *queen) listTasks(c echo.Context) error {
	out := api.Tasks{Tasks: []api.TaskState{}}
	for _, t := range q.tasks.all() {
		out.Tasks = append(out.Tasks, t.state())
	}
	return c.JSON(http.StatusOK, out)
}

func (q *queen) getTask(c echo.Context) error {
	t, err := q.tasks.find(core.TaskID(c.Param("id")))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, t.state())
}

// taskEvents streams a task's events again, those after Last-Event-ID.
func (q *queen) taskEvents(c echo.Context) error {
	t, err := q.tasks.find(core.TaskID(c.Param("id")))
	if err != nil {
		return err
	}
	last, _ := strconv.ParseInt(c.Request().Header.Get("Last-Event-ID"), 10, 64) // none: from the start
	defer t.read()()
	return stream(c, t, last)
}

func (q *queen) deleteTask(c echo.Context) error {
	if t, err := q.tasks.find(core.TaskID(c.Param("id"))); err == nil {
		t.cancel(errCancelled)
	}
	return c.NoContent(http.StatusNoContent)
}

// workerReady is a hive's callback.
func (q *queen) workerReady(c echo.Context) error {
	var r api.WorkerReady
	if err := serve.Body(c, &r); err != nil {
		return err
	}
	w := registry.Worker{
		ID: r.WorkerID, Node: core.NodeName(c.Request().Header.Get(api.HeaderNode)), URL: r.URL,
		Shape: registry.Shape{Model: r.ModelRef, Backend: r.Backend, Device: r.Device},
	}
	if err := core.CheckID("worker_id", string(w.ID)); err != nil {
		return err
	}
	if _, err := portOf(w.URL); err != nil {
		return err
	}
	if err := q.pool.known.Ready(w); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, api.Message{Message: "worker " + string(r.WorkerID) + " is registered"})
}

// ask calls f with every hive that is up, all at once, and waits for no hive longer
// than lists may take. f may not touch what is not its own.
func (q *queen) ask(ctx context.Context, f func(ctx context.Context, i int, l *link)) {
	ctx, cancel := context.WithTimeout(ctx, 2*glance)
	defer cancel()
	var all sync.WaitGroup
	for i, l := range q.fleet.up() {
		all.Go(func() { f(ctx, i, l) })
	}
	all.Wait()
}

// gather lists what every hive that is up has, by node. A hive that does not
// answer has nothing.
func gather[T any](ctx context.Context, q *queen, of func(context.Context, *link) []T) []T {
	var mu sync.Mutex
	by := map[int][]T{}
	q.ask(ctx, func(ctx context.Context, i int, l *link) {
		list := of(ctx, l)
		mu.Lock()
		defer mu.Unlock()
		by[i] = list
	})
	all := []T{}
	for _, i := range slices.Sorted(maps.Keys(by)) {
		all = append(all, by[i]...)
	}
	return all
}

func (q *queen) listHives(c echo.Context) error {
	all := gather(c.Request().Context(), q, func(ctx context.Context, l *link) []api.Hive {
		said, health := q.health(l.node)
		h := api.Hive{
			ID: cmp.Or(said.ID, l.info.Instance), Node: l.node, URL: l.hive.URL(), Version: l.info.Version, State: string(health),
			Borrowed: l.lease != "", Devices: said.Devices, DiskFreeBytes: said.DiskFreeBytes, LastSeen: said.Seen.UTC(),
		}
		if a, err := l.hive.Capabilities(ctx); err == nil { // of this moment
			h.Devices, h.DiskFreeBytes = a.Devices, a.DiskFreeBytes
		} else {
			h.State, h.Error = string(registry.Suspect), core.Public(err).Error()
		}
		return []api.Hive{h}
	})
	return c.JSON(http.StatusOK, api.Hives{Hives: append(all, q.fleet.absent()...)})
}

func (q *queen) listWorkers(c echo.Context) error {
	return c.JSON(http.StatusOK, api.Workers{Workers: gather(c.Request().Context(), q, func(ctx context.Context, l *link) []api.Worker {
		list, _ := l.hive.Workers(ctx) // a hive that is gone has none
		for i := range list.Workers {
			list.Workers[i].Node = l.node
		}
		return list.Workers
	})})
}

// loadWorker is POST /v2/workers: a worker ahead of need. It answers when the model
// is loaded.
func (q *queen) loadWorker(c echo.Context) error {
	var r api.LoadRequest
	if err := serve.Body(c, &r); err != nil {
		return err
	}
	spawn := api.SpawnRequest{Backend: r.Backend, ContextLength: r.ContextLength, Slots: r.Slots, Threads: r.Threads}
	if r.Device != nil {
		spawn.Device = *r.Device
	}
	if err := spawn.Validate(); err != nil {
		return err
	}
	model, err := q.resolve(c.Request().Context(), r.Model)
	if err != nil {
		return err
	}
	w := wantOf(&api.TaskRequest{Model: model, Node: r.Node, Backend: r.Backend, Device: r.Device, ContextLength: r.ContextLength, Threads: r.Threads})
	w.slots = r.Slots
	ctx, done, err := q.tasks.call(c.Request().Context())
	if err != nil {
		return err
	}
	defer done()
	w.node = q.place(ctx, w)
	s, err := q.pool.Ensure(ctx, w, func(api.Event) {})
	if err != nil {
		return fail(c, err)
	}
	list, err := s.link.hive.Workers(ctx)
	if err != nil {
		return err
	}
	for _, v := range list.Workers {
		if v.ID == s.ID {
			v.Node = s.Node
			return c.JSON(http.StatusCreated, v)
		}
	}
	return &core.Fault{Kind: core.WorkerCrashed, What: fmt.Sprintf("the worker on %s ended as soon as it was loaded", s.Node)}
}

// deleteWorker ends a worker; with ?idle_ms=N only one that is not in use.
func (q *queen) deleteWorker(c echo.Context) error {
	id := core.WorkerID(c.Param("id"))
	w, ok := q.pool.known.Find(id)
	if !ok {
		return c.NoContent(http.StatusNoContent)
	}
	idle, _ := strconv.ParseInt(c.QueryParam("idle_ms"), 10, 64) // 0: in any case
	for _, l := range q.fleet.up() {
		if l.id != w.Hive {
			continue
		}
		end := l.hive.DeleteWorker
		if idle > 0 {
			end = func(ctx context.Context, id core.WorkerID) error {
				return l.hive.RetireWorker(ctx, id, time.Duration(idle)*time.Millisecond)
			}
		}
		if err := end(c.Request().Context(), id); err != nil {
			return err
		}
	}
	q.pool.known.Remove(id)
	return c.NoContent(http.StatusNoContent)
}

// models are those of every hive that is up.
func (q *queen) models(ctx context.Context) []api.Model {
	return gather(ctx, q, func(ctx context.Context, l *link) []api.Model {
		list, _ := l.hive.Models(ctx) // a hive that is gone has none
		for i := range list.Models {
			list.Models[i].Node = l.node
		}
		return list.Models
	})
}
