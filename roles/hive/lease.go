package hive

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"rbee/core"
	"rbee/core/lease"
)

// hold is POST /v1/leases/{id}: the body is a lease. When that of an ephemeral
// queen ends, the workers that were spawned under it end, and this hive lives on.
// By that of a persistent queen the hive itself lives from now on: it is of her
// pool, whoever started it, and ends with her.
func (h *hive) hold(c echo.Context) error {
	id := c.Param("id")
	if err := core.CheckID("lease", id); err != nil {
		return err
	}
	carrier, boot, err := lease.Body(c.Response(), c.Request(), h.d.Settings.Limits.BeatLost)
	if err != nil {
		return err
	}
	if boot.Mode == core.Persistent {
		if err := h.vacant(c.Request().Context(), boot); err != nil {
			return err
		}
	}
	if err := h.nursery.hold(id, boot); err != nil {
		return err
	}
	h.d.Log.Info("lease held", "lease", id, "mode", string(boot.Mode))
	if err := lease.Accept(c.Response()); err != nil { // gone already
		h.nursery.endLease(id)
		return err
	}
	if boot.Mode == core.Persistent {
		h.report.heldBy(boot)
		err := h.d.HeldBy(carrier)
		h.nursery.endLease(id) // its workers live as long as the hive does
		h.d.Log.Info("lease ended", "lease", id)
		return err
	}
	h.lent(id, carrier)
	return nil
}

// handing is how long a queen who has ended may take to be seen so.
const handing = time.Second

// vacant returns when no other persistent queen than that of boot holds the hive. Hers
// is one with her instance, or with her URL: that other one must be gone.
func (h *hive) vacant(ctx context.Context, boot lease.Boot) error {
	other, gone := h.d.Holder()
	if gone == nil || other.Mode != core.Persistent || other.Instance == boot.Instance || other.QueenURL == boot.QueenURL {
		return nil
	}
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(handing):
		return &core.Fault{Kind: core.Invalid, What: "another queen holds this hive"}
	}
}

// lent waits for the end of an ephemeral queen's lease, and ends what was hers.
func (h *hive) lent(id string, carrier *lease.Carrier) {
	limits := h.d.Settings.Limits
	l := lease.New(lease.Terms{Beat: limits.Beat, BeatLost: limits.BeatLost, End: limits.HiveStop()}, nil)
	held, giveUp := l.Held(h.life, carrier)
	defer giveUp()
	<-held.Done()
	h.stopAll(context.WithoutCancel(held), h.nursery.endLease(id))
	h.d.Log.Info("lease ended", "lease", id, "cause", fmt.Sprint(context.Cause(held)))
}

const ofLease = "lease" // key of the request's lease in its context

// admit lets the holder of a lease and its workers in by the lease's token: to what
// is of workers, and there to those of the lease alone.
func (h *hive) admit(c echo.Context, token string) bool {
	switch c.Request().Method + " " + c.Path() {
	case "POST /v1/workers/spawn", "GET /v1/workers/list", "DELETE /v1/workers/:id", "POST /v1/workers/ready":
	case "GET /v1/models": // a worker asks for its model's hash
	default:
		return false
	}
	id := h.nursery.byToken(token)
	c.Set(ofLease, id)
	return id != ""
}

// leaseOf is the lease by whose token a request was let in; "": by the hive's own.
func leaseOf(c echo.Context) string {
	id, _ := c.Get(ofLease).(string)
	return id
}

// named returns the worker of a request's path, if it is one of the request's lease.
func (h *hive) named(c echo.Context, id core.WorkerID) (*worker, error) {
	w, err := h.nursery.worker(id)
	if err != nil {
		return nil, err
	}
	if only := leaseOf(c); only != "" && w.leaseID != only {
		return nil, &core.Fault{Kind: core.WorkerNotFound, What: fmt.Sprintf("worker %s is not of this lease", id)}
	}
	return w, nil
}

// listWorkers is GET /v1/workers/list.
func (h *hive) listWorkers(c echo.Context) error {
	return c.JSON(http.StatusOK, h.views(c.Request().Context(), leaseOf(c)))
}
