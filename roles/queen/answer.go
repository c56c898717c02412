package queen

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"rbee/core"
	"rbee/core/api"
	"rbee/registry"
	"rbee/registry/place"
)

// An answer is one task being made: where, by whom, and its events.
type answer struct {
	q     *queen
	t     *task
	model core.ModelRef
	began time.Time

	queued time.Duration
	loaded time.Duration
	tokens int
}

// run makes the task's answer and says its last event.
func (q *queen) run(ctx context.Context, t *task) {
	a := &answer{q: q, t: t, began: time.Now()}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	err := a.make(ctx)
	switch {
	case err == nil:
	case errors.Is(err, errCancelled) || errors.Is(err, errAbandoned) || errors.Is(context.Cause(ctx), errCancelled) || errors.Is(context.Cause(ctx), errAbandoned):
		t.say(&api.End{TokensOut: a.tokens, StopReason: api.StopCancelled})
	case ctx.Err() != nil && errors.Is(context.Cause(ctx), core.ShuttingDown):
		t.say(api.Fail(context.Cause(ctx), a.tokens))
	default:
		q.d.Log.Info("task failed", "task", string(t.id), "code", string(core.KindOf(err)), "error", err.Error())
		t.say(api.Fail(err, a.tokens))
	}
	q.queue.release()
}

func (a *answer) say(action api.Action, human string) {
	a.t.say(&api.Narration{Actor: "queen", Action: action, Human: human})
}

func (a *answer) comment(format string, args ...any) {
	a.t.say(&api.Comment{Text: fmt.Sprintf(format, args...)})
}

// make finds a worker and relays its answer. A worker without a free slot is
// waited for, in the queue.
func (a *answer) make(ctx context.Context) error {
	var err error
	if a.model, err = a.q.resolve(a.t.req.Model); err != nil {
		return err
	}
	a.t.say(&api.Started{JobID: a.t.id, Model: a.model, Node: a.t.req.Node, StartedAt: a.began.UTC()})
	name := place.Choose(place.Request{Model: a.model, Node: a.t.req.Node}, a.q.candidates(a.model))
	n, err := a.q.fleet.Ensure(ctx, name, a.say)
	if err != nil {
		return err
	}
	var leave func()
	defer func() {
		if leave != nil {
			leave()
		}
	}()
	for waited := time.Now(); ; {
		w, err := a.worker(ctx, n)
		if err != nil {
			return err
		}
		err = a.relay(ctx, n, w)
		if !errors.Is(err, core.AllSlotsBusy) {
			return err
		}
		if leave == nil {
			var place int
			if place, leave, err = a.q.queue.enter(); err != nil {
				return err
			}
			a.comment("queued %d/%d", place, a.q.queue.limit)
		}
		if err := a.q.queue.wait(ctx, time.Second); err != nil {
			return err
		}
		a.queued = time.Since(waited)
		a.comment("queued for %d s", int(a.queued.Seconds()))
	}
}

// resolve checks the model of a task. A file must have been imported, or lie in
// a model directory: a caller of the API cannot make us read any other.
func (q *queen) resolve(model core.ModelRef) (core.ModelRef, error) {
	ref, err := core.ParseModelRef(string(model))
	if err != nil {
		return "", err
	}
	if path, ok := ref.Path(); ok && !q.files.has(path) && !under(path, q.dirs) {
		return "", &core.Fault{
			Kind: core.Invalid, What: fmt.Sprintf("model file %s was not imported", path),
			Try: "rbee model import " + path,
		}
	}
	return ref, nil
}

// candidates are the nodes that have a worker with the model.
func (q *queen) candidates(model core.ModelRef) (list []place.Candidate) {
	seen := map[core.NodeName]bool{}
	for _, w := range q.known.List() {
		if w.Ready && w.Model == model && !seen[w.Node] {
			seen[w.Node] = true
			list = append(list, place.Candidate{Node: w.Node, Loaded: true, FreeSlots: 1})
		}
	}
	return list
}

// worker returns a ready worker for the model on the node: one that is there, or
// a new one. One task at a time starts workers on a node.
func (a *answer) worker(ctx context.Context, n *node) (registry.Worker, error) {
	done, err := n.take(ctx)
	if err != nil {
		return registry.Worker{}, err
	}
	w, ok := a.fitting(n)
	if !ok {
		w, err = a.spawn(ctx, n)
	}
	done()
	if err != nil {
		return registry.Worker{}, err
	}
	return a.await(ctx, n, w)
}

// fitting is a worker of the node that has the model, loaded or loading.
func (a *answer) fitting(n *node) (registry.Worker, bool) {
	for _, w := range a.q.known.List() {
		if w.Node == n.name && w.Model == a.model && a.t.req.ContextLength == 0 && a.t.req.Threads == 0 {
			return w, true
		}
	}
	return registry.Worker{}, false
}

// spawn has the hive start a worker. The caller has the node's turn.
func (a *answer) spawn(ctx context.Context, n *node) (registry.Worker, error) {
	if err := a.provide(ctx, n); err != nil {
		return registry.Worker{}, err
	}
	r := api.SpawnRequest{
		ModelRef: a.model, Backend: cmp.Or(a.t.req.Backend, core.CPU), ContextLength: a.t.req.ContextLength, Threads: a.t.req.Threads, Slots: a.q.slots,
	}
	if a.t.req.Device != nil {
		r.Device = *a.t.req.Device
	}
	if n.held != nil {
		r.LeaseID = a.q.d.Instance
	}
	s, err := n.hive.Spawn(ctx, r)
	if err != nil {
		return registry.Worker{}, err
	}
	w := registry.Worker{ID: s.WorkerID, Node: n.name, URL: s.URL, Model: a.model, Backend: r.Backend, Device: r.Device}
	a.q.known.Expect(w)
	return w, nil
}

// await follows a worker's load until it has called back.
func (a *answer) await(ctx context.Context, n *node, w registry.Worker) (registry.Worker, error) {
	if now, ok := a.q.known.Find(w.ID); ok && now.Ready {
		return now, nil
	}
	began := time.Now()
	limits := a.q.d.Settings.Limits
	ctx, cancel := context.WithTimeoutCause(ctx, limits.LoadMax, &core.Fault{Kind: core.LoadingTimeout, What: fmt.Sprintf("the model was not loaded after %v", limits.LoadMax)})
	defer cancel()
	watching, failed := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer failed(nil)
	watch.Go(func() {
		if err := a.watchLoad(watching, n, w); err != nil {
			failed(err)
		}
	})
	ready, err := a.q.known.Await(watching, w.ID)
	if errors.Is(err, registry.ErrGone) { // another task has seen its end first
		watch.Wait()
		err = cmp.Or(context.Cause(watching), err)
	}
	if err != nil {
		a.q.known.Remove(w.ID)
		return w, err
	}
	a.loaded = time.Since(began)
	a.say(api.IsReady, fmt.Sprintf("model loaded in %.1f s", a.loaded.Seconds()))
	return ready, nil
}

// watchLoad says how far the load is, and fails when it does. The end of the load
// is no end of the wait: the callback comes by way of the hive.
func (a *answer) watchLoad(ctx context.Context, n *node, w registry.Worker) error {
	c, err := n.worker(w.URL, a.q.token)
	if err != nil {
		return err
	}
	defer c.Close()
	stalled, beat := a.stall(ctx, a.q.d.Settings.Limits.LoadStall, core.LoadingTimeout, "the load makes no progress")
	defer beat(0)
	first := true
	for stage, err := range c.Progress(stalled) {
		switch {
		case err != nil && ctx.Err() != nil:
			return nil // the callback came, or nobody waits any more
		case err != nil && stalled.Err() != nil:
			return context.Cause(stalled)
		case err != nil:
			return a.crashed(ctx, n, w, err)
		case stage == nil:
			a.comment("loading")
			continue
		case stage.Stage == "failed":
			return &core.Fault{Kind: cmp.Or(stage.Code, core.WorkerCrashed), What: stage.Error, Try: stage.Try}
		}
		beat(a.q.d.Settings.Limits.LoadStall)
		if stage.LayersTotal > 0 {
			if first {
				first = false
				a.say(api.Load, fmt.Sprintf("loading %s", a.model))
			}
			a.comment("loading %d%%", 100*stage.LayersLoaded/stage.LayersTotal)
		}
	}
	return nil
}

// stall returns a context that ends when beat is not called for a while. beat(0)
// stops the watch.
func (a *answer) stall(ctx context.Context, d time.Duration, kind core.Kind, what string) (context.Context, func(time.Duration)) {
	ctx, cancel := context.WithCancelCause(ctx)
	t := time.AfterFunc(d, func() { cancel(&core.Fault{Kind: kind, What: fmt.Sprintf("%s for %v", what, d)}) })
	return ctx, func(d time.Duration) {
		if d == 0 {
			t.Stop()
			cancel(nil)
			return
		}
		t.Reset(d)
	}
}

// crashed makes an error of a worker that does not answer any more: the hive
// knows its last words.
func (a *answer) crashed(ctx context.Context, n *node, w registry.Worker, cause error) error {
	f := &core.Fault{Kind: core.WorkerCrashed, What: fmt.Sprintf("the worker on %s ended", n.name), Cause: cause, Try: "ask again"}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	if n.hive == nil {
		return f
	}
	for range 20 { // the hive sees the exit at the same time as we do
		list, err := n.hive.Workers(ctx)
		if err != nil {
			f.What = fmt.Sprintf("the hive and the worker on %s ended", n.name)
			return f
		}
		for _, v := range list.Workers {
			if v.ID == w.ID && v.Error != "" {
				f.What = fmt.Sprintf("the worker on %s ended: %s", n.name, v.Error)
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

// relay asks the worker and passes its events on as they come.
func (a *answer) relay(ctx context.Context, n *node, w registry.Worker) error {
	c, err := n.worker(w.URL, a.q.token)
	if err != nil {
		return err
	}
	defer c.Close()
	limit := a.q.d.Settings.Limits.AnswerStall
	stalled, beat := a.stall(ctx, limit, core.InferenceStalled, "the worker says nothing")
	defer beat(0)
	for ev, err := range c.Execute(stalled, api.ExecuteRequest{TaskRequest: a.t.req, JobID: a.t.id}) {
		if err != nil {
			return a.broken(ctx, stalled, n, w, err)
		}
		if _, comment := ev.Event.(*api.Comment); !comment {
			beat(limit)
		}
		if end, ok := ev.Event.(*api.End); ok && end.StopReason == api.StopCancelled {
			return a.broken(ctx, stalled, n, w, errWorkerEnded) // nobody here cancelled it
		}
		a.pass(ev.Event, w)
	}
	return nil
}

var errWorkerEnded = errors.New("queen: the worker broke the answer off")

// broken says why a worker's stream ended before its end.
func (a *answer) broken(ctx, stalled context.Context, n *node, w registry.Worker, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case stalled.Err() != nil:
		return context.Cause(stalled)
	}
	if f, ok := errors.AsType[*core.Fault](err); ok { // it said so itself
		if f.Kind == core.WorkerNotReady || f.Kind == core.ShuttingDown {
			a.q.known.Remove(w.ID)
		}
		return err
	}
	a.q.known.Remove(w.ID)
	return a.crashed(ctx, n, w, err)
}

// pass passes an event of the worker on, with what only the queen knows.
func (a *answer) pass(ev api.Event, w registry.Worker) {
	switch ev := ev.(type) {
	case *api.Started: // ours was said already
		a.t.mu.Lock()
		a.t.at.Node, a.t.at.WorkerID = w.Node, w.ID
		a.t.mu.Unlock()
		return
	case *api.Token:
		a.tokens++
	case *api.Metrics:
		ev.QueueMS, ev.LoadMS = a.queued.Milliseconds(), a.loaded.Milliseconds()
	}
	a.t.say(ev)
}
