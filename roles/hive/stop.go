package hive

import (
	"context"
	"sync"
	"time"

	"rbee/core/api"
)

// stopWorker ends a worker in order, and returns when its memory is back.
func (h *hive) stopWorker(ctx context.Context, w *worker) {
	w.become(api.Stopping, "")
	var ask func(context.Context) error // nothing asks a measurement
	if w.client != nil {
		ask = w.client.Shutdown
	}
	step := w.child.Stop(ctx, ask, h.grace())
	h.d.Log.Info("worker ended", "worker_id", string(w.id), "step", string(step))
	select {
	case <-w.back:
	case <-ctx.Done():
	}
}

// stopAll ends workers, all at once.
func (h *hive) stopAll(ctx context.Context, list []*worker) {
	var all sync.WaitGroup
	for _, w := range list {
		all.Go(func() { h.stopWorker(ctx, w) })
	}
	all.Wait()
}

// drain lets the answers under way come to their end: each worker takes no new ones
// and ends with its last.
func (h *hive) drain(ctx context.Context) {
	h.nursery.close()
	h.pulls.End(errEnding) // what is there of them stays
	limit := h.d.Settings.Limits.Drain
	if end, ok := ctx.Deadline(); ok {
		limit = time.Until(end)
	}
	var all sync.WaitGroup
	for _, w := range h.nursery.all("") {
		all.Go(func() {
			if w.client == nil || w.client.ShutdownWith(ctx, api.ShutdownRequest{DrainMS: limit.Milliseconds()}) != nil {
				return // it is ended with the others
			}
			w.become(api.Stopping, "")
			select {
			case <-w.child.Done():
			case <-ctx.Done():
			}
		})
	}
	all.Wait()
}

// end ends every worker and waits for whoever watches them. The last half of a second
// before the hive itself is killed is not for GPUs that give back no memory.
func (h *hive) end(ctx context.Context) {
	h.nursery.close()
	h.pulls.End(errEnding)
	most, cancel := context.WithTimeout(ctx, h.d.Settings.Limits.HiveStop()-time.Second/2)
	defer cancel()
	h.stopAll(most, h.nursery.all(""))
	h.over()
	h.nursery.running.Wait()
}

// stopIdle ends workers that nobody has used for a while.
func (h *hive) stopIdle(ctx context.Context) error {
	tick := time.NewTicker(max(min(h.idle/4, 15*time.Second), 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		var all sync.WaitGroup
		for _, w := range h.nursery.all("") {
			if state, _ := w.get(); h.idle > 0 && state == api.Idle {
				all.Go(func() { _ = h.retire(ctx, w, h.idle) })
			}
		}
		all.Wait()
	}
}

// retire ends a worker if nobody has used it for so long, and returns when it is
// gone. The worker decides, for only it knows whether an answer begins at this
// moment; one that does not answer is not idle.
func (h *hive) retire(ctx context.Context, w *worker, idle time.Duration) error {
	call, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := w.client.ShutdownWith(call, api.ShutdownRequest{IfIdleMS: max(idle.Milliseconds(), 1)}); err != nil {
		return err
	}
	w.become(api.Stopping, "")
	willEnd := func(context.Context) error { return nil }
	w.child.Stop(context.WithoutCancel(ctx), willEnd, h.grace())
	<-w.back
	h.d.Log.Info("worker was idle", "worker_id", string(w.id), "for", idle.String())
	return nil
}
