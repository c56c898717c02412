package queen

import (
	"cmp"
	"context"
	"errors"
	"syscall"
	"time"

	"rbee/core"
	"rbee/core/api"
	"rbee/registry"
)

// An answer is one task being made: where, by whom, and its events.
type answer struct {
	q    *queen
	t    *task
	want want

	leave  func() // the queue; nil when the task is not in it
	queued time.Duration
	loaded time.Duration
	begun  bool    // a worker has taken it
	last   api.End // what the worker said of an answer that was cancelled
}

// run makes the task's answer and says its last event.
func (q *queen) run(ctx context.Context, t *task) {
	a := &answer{q: q, t: t, want: wantOf(&t.req)}
	defer q.queue.release()
	defer a.unqueue()
	err := a.make(ctx)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	switch {
	case err == nil:
	case cancelled(err):
		t.say(a.cancelled())
	default:
		q.d.Log.Info("task failed", "task", string(t.id), "code", string(core.KindOf(err)), "error", err.Error(), "correlation_id", t.trace.Correlation)
		t.say(api.Fail(core.Public(err), t.state().TokensOut))
	}
}

// wantOf is the worker that a task needs.
func wantOf(r *api.TaskRequest) want {
	w := want{node: r.Node, Shape: registry.Shape{Model: r.Model, Backend: cmp.Or(r.Backend, core.CPU), ContextLength: r.ContextLength, Threads: r.Threads}}
	if r.Device != nil {
		w.Device = *r.Device
	}
	return w
}

// retries is how often a worker that turns out not to be there is replaced.
const retries = 2

// make finds a worker and relays its answer. A worker without a free slot is
// waited for, in the queue; one that is gone is forgotten, and another taken.
func (a *answer) make(ctx context.Context) error {
	a.t.say(&api.Started{JobID: a.t.id, Model: a.want.Model, Node: a.t.req.Node, StartedAt: time.Now().UTC()})
	for lost := 0; ; {
		w := a.want
		w.node = a.q.place(ctx, w)
		s, err := a.q.pool.Ensure(ctx, w, a.t.say)
		if errors.Is(err, core.AllSlotsBusy) { // no room beside what is in use
			if err := a.wait(ctx); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		a.loaded += s.load
		err = a.relay(ctx, s)
		switch {
		case errors.Is(err, core.AllSlotsBusy):
			if err := a.wait(ctx); err != nil {
				return err
			}
		case err != nil && !a.begun && moved(err) && lost < retries:
			lost++
			a.q.pool.known.Remove(s.ID)
		default:
			return err
		}
	}
}

// moved tells whether err means that the worker is not there: it has ended, or is
// about to, and its port may be another's.
func moved(err error) bool {
	for _, is := range []error{syscall.ECONNREFUSED, core.WorkerNotFound, core.WorkerNotReady, core.WorkerCrashed, core.ShuttingDown, core.MissingAPIKey, core.InvalidAPIKey} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}

// wait waits in the queue until a slot may be free.
func (a *answer) wait(ctx context.Context) error {
	if a.leave == nil {
		place, leave, err := a.q.queue.enter()
		if err != nil {
			return err
		}
		a.leave = leave
		narrator(a.t.say).comment("queued %d/%d", place, a.q.queue.limit)
	}
	began := time.Now()
	err := a.q.queue.wait(ctx, time.Second)
	a.queued += time.Since(began)
	narrator(a.t.say).comment("queued for %d s", int(a.queued.Seconds()))
	return err
}

// unqueue gives the place in the queue back: the task has a slot, or has ended.
func (a *answer) unqueue() {
	if a.leave != nil {
		a.leave()
		a.leave = nil
	}
}

// cancelled tells whether an answer ended because nobody wants it.
func cancelled(err error) bool {
	return errors.Is(err, errCancelled) || errors.Is(err, errAbandoned)
}

// cancelled is the end of an answer that nobody wants, with what is known of it.
func (a *answer) cancelled() *api.End {
	end := a.last
	state := a.t.state()
	end.TokensOut, end.StopReason, end.Usage.CompletionTokens = state.TokensOut, api.StopCancelled, state.TokensOut
	end.Receipt.Engine = cmp.Or(end.Receipt.Engine, "rbee "+core.Version)
	end.Receipt.Node = cmp.Or(end.Receipt.Node, state.Node)
	end.Receipt.Device = cmp.Or(end.Receipt.Device, string(a.want.Backend))
	if a.t.req.Seed != nil {
		end.Receipt.Seed = *a.t.req.Seed
	}
	return &end
}
