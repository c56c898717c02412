package queen

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"rbee/core"
	"rbee/core/api"
	"rbee/registry"
)

// loaded returns when the worker has called back, or why it will not.
func (p *pool) loaded(ctx context.Context, l *link, w registry.Worker, say narrator) error {
	limits := p.q.d.Settings.Limits
	ctx, cancel := context.WithTimeoutCause(ctx, limits.LoadMax, &core.Fault{Kind: core.LoadingTimeout, What: fmt.Sprintf("the model was not loaded after %v", limits.LoadMax)})
	defer cancel()
	watching, failed := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer failed(nil)
	watch.Go(func() {
		if err := p.watchLoad(watching, l, w, say); err != nil {
			failed(err)
		}
	})
	_, err := p.known.Await(watching, w.ID)
	if errors.Is(err, registry.ErrGone) { // another task, or the hive's end, was faster
		watch.Wait()
		err = cmp.Or(context.Cause(watching), error(&core.Fault{Kind: core.WorkerCrashed, What: fmt.Sprintf("the worker on %s ended while it loaded", w.Node), Try: "ask again"}))
	}
	return err
}

// watchLoad says how far the load is, and fails when it does. The end of the load
// is no end of the wait: the callback comes by way of the hive.
func (p *pool) watchLoad(ctx context.Context, l *link, w registry.Worker, say narrator) error {
	c, err := l.worker(w.URL, p.q.token)
	if err != nil {
		return err
	}
	limits := p.q.d.Settings.Limits
	stalled, beat := stall(ctx, limits.WorkerUp, core.LoadingTimeout, "the load makes no progress")
	defer beat(0)
	first := true
	for stage, err := range c.Progress(stalled) {
		switch {
		case err != nil && ctx.Err() != nil:
			return nil // the callback came, or nobody waits any more
		case err != nil && stalled.Err() != nil:
			return context.Cause(stalled)
		case err != nil:
			return crashed(ctx, l, w, err)
		case stage == nil:
			say.comment("loading")
			continue
		case stage.Stage == "failed":
			return &core.Fault{Kind: cmp.Or(stage.Code, core.WorkerCrashed), What: stage.Error, Try: stage.Try}
		}
		beat(limits.LoadStall)
		if stage.LayersTotal > 0 {
			if first {
				first = false
				say.that(api.Load, fmt.Sprintf("loading %s", w.Model))
			}
			say.comment("loading %d%%", 100*stage.LayersLoaded/stage.LayersTotal)
		}
	}
	return nil
}

// stall returns a context that ends when beat is not called for a while. beat(0)
// stops the watch. A beat only notes the time: there is one for each token.
func stall(ctx context.Context, d time.Duration, kind core.Kind, what string) (context.Context, func(time.Duration)) {
	ctx, cancel := context.WithCancelCause(ctx)
	began := time.Now()
	var most, last atomic.Int64 // how long it may be silent, and when it last was not
	most.Store(int64(d))
	var t *time.Timer
	t = time.AfterFunc(math.MaxInt64, func() { // never, until t is known
		limit := time.Duration(most.Load())
		if left := time.Duration(last.Load()) + limit - time.Since(began); left > 0 {
			t.Reset(left)
			return
		}
		cancel(&core.Fault{Kind: kind, What: fmt.Sprintf("%s for %v", what, limit)})
	})
	t.Reset(d)
	return ctx, func(d time.Duration) {
		if d == 0 {
			t.Stop()
			cancel(nil)
			return
		}
		last.Store(int64(time.Since(began)))
		if most.Swap(int64(d)) != int64(d) { // it may be less
			t.Reset(d)
		}
	}
}

// crashed makes an error of a worker that does not answer any more: the hive
// knows its last words.
func crashed(ctx context.Context, l *link, w registry.Worker, cause error) error {
	f := &core.Fault{Kind: core.WorkerCrashed, What: fmt.Sprintf("the worker on %s ended", l.node), Cause: cause, Try: "ask again"}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	for range 20 { // the hive sees the exit at the same time as we do
		list, err := l.hive.Workers(ctx)
		if err != nil {
			f.What = fmt.Sprintf("the hive and the worker on %s ended", l.node)
			return f
		}
		for _, v := range list.Workers {
			if v.ID == w.ID && v.Error != "" {
				f.What = fmt.Sprintf("the worker on %s ended: %s", l.node, v.Error)
				return f
			}
		}
		select {
		case <-time.After(25 * time.Millisecond):
		case <-ctx.Done():
			return f
		}
	}
	return f
}
