package hive

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/serve"
	"rbee/roles/cmdline"
)

func (h *hive) routes() *echo.Echo {
	e := serve.New(serve.Options{
		Health: api.Health{Role: "hive", Mode: h.d.Mode, Version: core.Version, Instance: h.d.Instance, ID: h.id},
		Token:  h.d.Token, Hosts: h.d.Hosts, Log: h.d.Log, Admit: h.admit, Unbounded: []string{"/v1/blobs/", "/v1/leases/"},
	})
	e.POST("/v1/workers/spawn", h.postSpawn)
	e.GET("/v1/workers/list", h.listWorkers)
	e.DELETE("/v1/workers/:id", h.deleteWorker)
	e.POST("/v1/workers/ready", h.workerReady)
	e.POST("/v1/bench", h.postBench)
	e.POST("/v1/leases/:id", h.hold)
	e.GET("/v1/models", h.listModels)
	e.GET("/v1/models/:ref/needs", h.modelNeeds)
	e.DELETE("/v1/models/:ref", h.removeModel)
	e.GET("/v1/models/found", h.foundModels)
	e.POST("/v1/models/import", h.importModel)
	e.POST("/v1/models/download", h.postDownload)
	e.GET("/v1/models/download/progress", h.downloadProgress)
	e.DELETE("/v1/models/download/:id", h.deleteDownload)
	e.POST("/v1/models/resolve", h.resolveModel)
	e.POST("/v1/models/verify", h.verifyModels)
	e.POST("/v1/models/gc", h.collectModels)
	e.GET("/v1/models/:ref", h.showModel)
	e.GET("/v1/blobs/:hash", h.getBlob)
	e.HEAD("/v1/blobs/:hash", h.getBlob)
	e.PUT("/v1/blobs/:hash", h.putBlob)
	e.GET("/v1/capabilities", func(c echo.Context) error { return c.JSON(http.StatusOK, h.has()) })
	e.GET("/v1/logs", h.logs)
	e.POST("/v1/shutdown", h.shutdown)
	return e
}

func (h *hive) postSpawn(c echo.Context) error {
	var r api.SpawnRequest
	if err := serve.Body(c, &r); err != nil {
		return err
	}
	if only := leaseOf(c); only != "" {
		r.LeaseID = only
	}
	w, err := h.spawn(c.Request().Context(), r)
	if err != nil {
		return err
	}
	v := h.view(c.Request().Context(), w)
	return c.JSON(http.StatusAccepted, api.Spawned{WorkerID: w.id, URL: v.URL, State: v.State})
}

// deleteWorker ends a worker; one that is not there has ended. With ?idle_ms=N it is
// ended only if nobody has used it for so long, else 409 WORKER_BUSY.
func (h *hive) deleteWorker(c echo.Context) error {
	idle := int64(0)
	if v := c.QueryParam("idle_ms"); v != "" {
		var err error
		if idle, err = strconv.ParseInt(v, 10, 64); err != nil || idle < 1 {
			return &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("idle_ms %.20q: want milliseconds from 1 on", v)}
		}
	}
	w, err := h.named(c, core.WorkerID(c.Param("id")))
	switch {
	case err != nil:
	case idle == 0:
		h.stopWorker(c.Request().Context(), w)
	default:
		if err := h.retireIf(c.Request().Context(), w, time.Duration(idle)*time.Millisecond); err != nil {
			return err
		}
	}
	return c.NoContent(http.StatusNoContent)
}

// retireIf is retire for a worker in any state: one that loads is not idle.
func (h *hive) retireIf(ctx context.Context, w *worker, idle time.Duration) error {
	if state, _ := w.get(); state != api.Idle {
		return &core.Fault{Kind: core.WorkerBusy, What: fmt.Sprintf("worker %s is %s", w.id, state)}
	}
	return h.retire(ctx, w, idle)
}

// workerReady is a worker's callback.
func (h *hive) workerReady(c echo.Context) error {
	var r api.WorkerReady
	if err := serve.Body(c, &r); err != nil {
		return err
	}
	w, err := h.named(c, r.WorkerID)
	if err != nil {
		return err
	}
	h.ready(w, r)
	return c.JSON(http.StatusOK, api.Message{Message: "worker " + string(r.WorkerID) + " is ready"})
}

// shutdown answers before the end begins, so that the answer arrives.
func (h *hive) shutdown(c echo.Context) error {
	var r api.ShutdownRequest
	if _, err := serve.OptionalBody(c, &r); err != nil {
		return err
	}
	serve.Accepted(c)
	h.d.End(cmdline.ErrAsked)
	return nil
}

// logs is GET /v1/logs?worker=&follow=: the last lines of the hive and all it has
// started, or of one worker.
func (h *hive) logs(c echo.Context) error {
	kept := &h.d.LogTo.Kept
	if id := c.QueryParam("worker"); id != "" {
		w, err := h.nursery.worker(core.WorkerID(id))
		if err != nil {
			return err
		}
		kept = w.log
	}
	return serve.Lines(c, "text/plain; charset=utf-8", func(ctx context.Context, line func([]byte) error) error {
		ctx, stop := h.d.Until(ctx)
		defer stop()
		return kept.Read(ctx, c.QueryParam("follow") == "true", line)
	})
}
