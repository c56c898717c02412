package queen

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"rbee/core"
	"rbee/core/api"
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
	e.GET("/v2/workers", q.listWorkers)
	e.DELETE("/v2/workers/:id", q.deleteWorker)
	e.GET("/v2/models", q.listModels)
	e.POST("/v2/models/import", q.importModel)
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
	t, err := q.tasks.start(r, q.run)
	if err != nil {
		return err
	}
	defer t.read()()
	if r.Streamed() {
		return stream(c, t, 0)
	}
	out, err := collect(c.Request().Context(), t, nil)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, out)
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
	err := t.follow(ctx, last, func(ev api.Numbered) error {
		if ev.ID == 0 {
			return out.Send(ev.Event)
		}
		return out.SendID(ev.ID, ev.Event)
	})
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
		case *api.Token:
			text.WriteString(ev.Text)
			if each != nil {
				each(ev)
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
		Model: r.ModelRef, Backend: r.Backend, Device: r.Device,
	}
	if err := core.CheckID("worker_id", string(w.ID)); err != nil {
		return err
	}
	if known, ok := q.known.Find(w.ID); ok { // the hive's name for its node may be another than ours
		w.Node = known.Node
	}
	if !strings.HasPrefix(w.URL, "http://") {
		return &core.Fault{Kind: core.Invalid, What: "url: want http://HOST:PORT"}
	}
	if err := q.known.Ready(w); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, api.Message{Message: "worker " + string(r.WorkerID) + " is registered"})
}

func (q *queen) listHives(c echo.Context) error {
	out := api.Hives{Hives: []api.Hive{}}
	for _, n := range q.fleet.all() {
		done, err := n.take(c.Request().Context())
		if err != nil {
			return err
		}
		if n.up {
			h := api.Hive{ID: n.info.Instance, Node: n.name, URL: n.url, Version: n.info.Version, State: "up", Borrowed: n.held != nil}
			if a, err := n.hive.Capabilities(c.Request().Context()); err == nil {
				h.Devices = a.Devices
			} else {
				h.State = "gone"
			}
			out.Hives = append(out.Hives, h)
		}
		done()
	}
	return c.JSON(http.StatusOK, out)
}

// eachHive calls f with every hive that is up.
func (q *queen) eachHive(ctx context.Context, f func(n *node) error) error {
	for _, n := range q.fleet.all() {
		done, err := n.take(ctx)
		if err != nil {
			return err
		}
		if n.up {
			err = f(n)
		}
		done()
		if err != nil {
			return err
		}
	}
	return nil
}

func (q *queen) listWorkers(c echo.Context) error {
	out := api.Workers{Workers: []api.Worker{}}
	ctx := c.Request().Context()
	err := q.eachHive(ctx, func(n *node) error {
		list, err := n.hive.Workers(ctx)
		if err != nil {
			return nil //nolint:nilerr // a hive that is gone has none
		}
		for _, w := range list.Workers {
			w.Node = n.name
			out.Workers = append(out.Workers, w)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, out)
}

func (q *queen) deleteWorker(c echo.Context) error {
	id := core.WorkerID(c.Param("id"))
	ctx := c.Request().Context()
	w, ok := q.known.Find(id)
	if !ok {
		return c.NoContent(http.StatusNoContent)
	}
	err := q.eachHive(ctx, func(n *node) error {
		if n.name != w.Node {
			return nil
		}
		return n.hive.DeleteWorker(ctx, id)
	})
	if err != nil {
		return err
	}
	q.known.Remove(id)
	return c.NoContent(http.StatusNoContent)
}

func (q *queen) listModels(c echo.Context) error {
	out := api.Models{Models: []api.Model{}}
	ctx := c.Request().Context()
	err := q.eachHive(ctx, func(n *node) error {
		list, err := n.hive.Models(ctx)
		if err != nil {
			return nil //nolint:nilerr // a hive that is gone has none
		}
		for _, m := range list.Models {
			m.Node = n.name
			out.Models = append(out.Models, m)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, out)
}

func (q *queen) importModel(c echo.Context) error {
	var r api.ImportRequest
	if err := serve.Body(c, &r); err != nil {
		return err
	}
	m, err := q.allow(r.Path)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, m)
}
