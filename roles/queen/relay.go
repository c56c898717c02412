package queen

import (
	"context"
	"errors"
	"syscall"
	"time"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/client"
)

// patienceAtEnd is how long a worker may take to close an answer that is cancelled.
const patienceAtEnd = time.Second

// relay asks the worker and passes its events on as they come.
func (a *answer) relay(ctx context.Context, s seat) error {
	c, err := s.link.worker(s.URL, a.q.token)
	if err != nil {
		return err
	}
	defer a.q.pool.known.Use(s.ID)()
	limit := a.q.d.Settings.Limits.AnswerStall
	asking, stop := a.asking(ctx, c)
	defer stop()
	stalled, beat := stall(asking, limit, core.InferenceStalled, "the worker says nothing")
	defer beat(0)
	r := api.ExecuteRequest{TaskRequest: a.t.req, JobID: a.t.id, WorkerID: s.ID}
	r.Model = s.Model // in full
	for ev, err := range c.ExecuteSealed(stalled, r) {
		if err != nil {
			return a.broken(ctx, stalled, s, err)
		}
		if _, comment := ev.Event.(*api.Comment); !comment {
			beat(limit)
		}
		if end, ok := ev.Event.(*api.End); ok && end.StopReason == api.StopCancelled {
			a.last = *end
			return a.broken(ctx, stalled, s, errWorkerEnded) // or it is what was asked for
		}
		a.pass(ev.Event, s)
	}
	return nil
}

// asking is the context of the request to the worker. When the task is cancelled
// the worker is told, and has a moment to close the answer: it knows the receipt.
// Any other end cuts the request at once.
func (a *answer) asking(ctx context.Context, c *client.Client) (asking context.Context, stop func()) {
	asking, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	done := make(chan struct{})
	unhook := context.AfterFunc(ctx, func() {
		defer close(done)
		defer cut(context.Cause(ctx))
		if !cancelled(context.Cause(ctx)) {
			return
		}
		moment, end := context.WithTimeout(asking, patienceAtEnd)
		defer end()
		if c.CancelJob(moment, a.t.id) == nil {
			<-moment.Done() // the relay has ended, or the time
		}
	})
	return asking, func() {
		cut(nil)
		if !unhook() {
			<-done
		}
	}
}

var errWorkerEnded = errors.New("queen: the worker broke the answer off")

// broken says why a worker's stream ended before its end.
func (a *answer) broken(ctx, stalled context.Context, s seat, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case stalled.Err() != nil:
		return context.Cause(stalled)
	case !a.begun && errors.Is(err, syscall.ECONNREFUSED):
		return err // nothing is lost: there was nobody
	}
	f, ok := errors.AsType[*core.Fault](err)
	if ok && (f.Kind != core.ShuttingDown || !a.begun) { // it said so itself
		return err
	}
	a.q.pool.known.Remove(s.ID)
	return crashed(ctx, s.link, s.Worker, err)
}

// pass passes an event of the worker on, with what only the queen knows.
func (a *answer) pass(ev api.Event, s seat) {
	if _, comment := ev.(*api.Comment); !comment && !a.begun {
		a.begun = true
		a.unqueue()
		a.t.placed(s.Node, s.ID)
	}
	switch ev := ev.(type) {
	case *api.Started: // ours was said already
		return
	case *api.Metrics:
		ev.QueueMS, ev.LoadMS = a.queued.Milliseconds(), a.loaded.Milliseconds()
	}
	a.t.say(ev)
}
