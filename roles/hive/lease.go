package hive

import (
	"context"
	"fmt"
	"sync"

	"github.com/labstack/echo/v4"

	"rbee/core"
	"rbee/core/lease"
)

// leases are the leases by which others hold this hive, by id.
type leases struct {
	mu sync.Mutex // guards by
	by map[string]lease.Boot
}

func (l *leases) get(id string) (lease.Boot, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, ok := l.by[id]
	return b, ok
}

func (l *leases) add(id string, b lease.Boot) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, twice := l.by[id]; twice {
		return &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("lease %s is held already", id)}
	}
	if l.by == nil {
		l.by = map[string]lease.Boot{}
	}
	l.by[id] = b
	return nil
}

func (l *leases) remove(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.by, id)
}

// hold is POST /v1/leases/{id}: the body is a lease. When it ends, the workers
// that were spawned under it end, and this hive lives on.
func (h *hive) hold(c echo.Context) error {
	id := c.Param("id")
	if err := core.CheckID("lease", id); err != nil {
		return err
	}
	limits := h.d.Settings.Limits
	carrier, boot, err := lease.Body(c.Response(), c.Request(), limits.BeatLost)
	if err != nil {
		return err
	}
	if err := h.leases.add(id, boot); err != nil {
		return err
	}
	if err := lease.Accept(c.Response()); err != nil {
		h.leases.remove(id)
		return err
	}
	l := lease.New(lease.Terms{Beat: limits.Beat, BeatLost: limits.BeatLost, End: limits.HiveStop()}, nil)
	held, giveUp := l.Held(h.d.Ctx, carrier)
	defer giveUp()
	h.d.Log.Info("lease held", "lease", id)
	<-held.Done()
	h.leases.remove(id)
	h.stopAll(context.WithoutCancel(held), h.workers.all(func(w *worker) bool { return w.leaseID == id }))
	h.d.Log.Info("lease ended", "lease", id, "cause", fmt.Sprint(context.Cause(held)))
	return nil
}
