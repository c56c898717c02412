package queen

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/client"
	"rbee/core/secure"
)

const (
	kept      = time.Minute      // that a task's events are kept after its end
	abandoned = 10 * time.Second // after which a task that nobody reads is cancelled
	maxEvents = 1 << 20          // bytes that a task's events may have
)

// A task is one answer under way or just ended. Its events are a log that any
// number of readers follow.
type task struct {
	id      core.TaskID
	req     api.TaskRequest
	trace   client.Trace
	created time.Time
	cancel  context.CancelCauseFunc

	mu      sync.Mutex // guards all below
	events  []api.Numbered
	first   int // position of events[0] in the whole log
	size    int
	last    int64 // id of the last event
	ended   bool
	failed  bool
	changed chan struct{} // closed at the next change
	readers int
	leaving *time.Timer // runs while nobody reads
	at      api.TaskState
	token   *api.Sealed // the last one
}

// say adds an event to the log.
func (t *task) say(ev api.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return
	}
	n := api.Numbered{Event: ev}
	switch ev := ev.(type) {
	case *api.Started:
		t.at.Node, t.at.WorkerID = cmp.Or(ev.Node, t.at.Node), cmp.Or(ev.WorkerID, t.at.WorkerID)
	case *api.Sealed:
		t.token = ev
	case *api.End:
		t.ended = true
	case *api.Failure:
		t.ended, t.failed = true, true
	}
	if _, comment := ev.(*api.Comment); !comment {
		t.last++
		n.ID = t.last
	}
	t.events = append(t.events, n)
	t.size += weight(ev)
	for t.size > maxEvents && len(t.events) > 1 { // the oldest are forgotten; since counts on it that none is changed
		t.size -= weight(t.events[0].Event)
		t.events, t.first = t.events[1:], t.first+1
	}
	t.wake()
}

// weight is about how many bytes an event has in memory and on the wire.
func weight(ev api.Event) int {
	const head = 100
	switch ev := ev.(type) {
	case *api.Sealed:
		return max(head, len(ev.Data))
	case *api.Narration:
		return head + len(ev.Human)
	case *api.Comment:
		return head + len(ev.Text)
	}
	return 4 * head
}

// placed notes where the answer is made.
func (t *task) placed(node core.NodeName, id core.WorkerID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.at.Node, t.at.WorkerID = node, id
}

func (t *task) wake() {
	if t.changed != nil {
		close(t.changed)
		t.changed = nil
	}
}

// since returns the events from a position on, the position behind them, and whether
// the log is complete. When there are none and it is not, changed is closed when
// there is more.
func (t *task) since(pos int) (events []api.Numbered, next int, ended bool, changed <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	events = t.events[min(max(pos-t.first, 0), len(t.events)):]
	if len(events) == 0 && !t.ended && t.changed == nil {
		t.changed = make(chan struct{})
	}
	return events, t.first + len(t.events), t.ended, t.changed
}

// errOvertaken ends a reader that was too slow, or came too late, to have them all.
var errOvertaken = &core.Fault{
	Kind: core.TaskNotFound, What: fmt.Sprintf("events of this task are not kept any more: it has more than %d bytes of them", maxEvents),
	Try: "read faster, or ask again",
}

// follow calls f with each event, from the first one whose id is above last, until
// the log ends, ctx is done, or f fails. It fails with errOvertaken rather than
// leave an event out.
func (t *task) follow(ctx context.Context, last int64, f func(api.Numbered) error) error {
	return t.batches(ctx, last, f, func() error { return nil })
}

// batches is follow that calls rest after all the events that were there at once.
func (t *task) batches(ctx context.Context, last int64, f func(api.Numbered) error, rest func() error) error {
	for pos := 0; ; {
		events, next, ended, changed := t.since(pos)
		for _, ev := range events {
			if ev.ID == 0 && last > 0 && pos == 0 || ev.ID != 0 && ev.ID <= last {
				continue
			}
			if ev.ID > last+1 {
				return errOvertaken
			}
			last = max(last, ev.ID)
			if err := f(ev); err != nil {
				return err
			}
		}
		if pos = next; len(events) > 0 {
			if err := rest(); err != nil {
				return err
			}
		}
		if ended {
			return nil
		}
		if len(events) > 0 {
			continue // more may have come
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// read counts a reader; the returned function takes it away. Some time after the
// last one left, the task is cancelled, unless it is to go on without.
func (t *task) read() func() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.readers++
	if t.leaving != nil {
		t.leaving.Stop()
	}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.readers--; t.readers == 0 && !t.ended && !t.req.Detach {
			t.leaving = time.AfterFunc(abandoned, func() { t.cancel(errAbandoned) })
		}
	}
}

var (
	errCancelled = errors.New("queen: the task was cancelled")
	errAbandoned = errors.New("queen: nobody reads the task's answer any more")
)

// state is the task as lists show it.
func (t *task) state() api.TaskState {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.at
	if t.token != nil {
		if last, err := t.token.Token(); err == nil {
			s.TokensOut = last.Index + 1 // some have no text, and no event
		}
	}
	switch {
	case t.failed:
		s.State = "failed"
	case t.ended:
		s.State = "done"
	default:
		s.State = "running"
	}
	return s
}

// tasks are the queen's tasks, by id.
type tasks struct {
	base    context.Context // of the queen
	running sync.WaitGroup

	mu    sync.Mutex // guards all below
	by    map[core.TaskID]*task
	calls map[context.Context]context.CancelCauseFunc
	ended error // set when no new ones are taken
}

// start begins a task: run makes its answer, and says a last event.
func (ts *tasks) start(r api.TaskRequest, trace client.Trace, run func(ctx context.Context, t *task)) (*task, error) {
	base, done := client.WithTrace(ts.base, trace), func() {}
	if !trace.Deadline.IsZero() {
		base, done = context.WithDeadlineCause(base, trace.Deadline, &core.Fault{Kind: core.DeadlineExceeded, What: "no whole answer by the deadline of the request"})
	}
	ctx, cancel := context.WithCancelCause(base)
	t := &task{id: core.TaskID("t-" + secure.RandomID()), req: r, trace: trace, created: time.Now(), cancel: cancel}
	t.at = api.TaskState{ID: t.id, Model: cmp.Or(r.Model, core.Embedded), Node: r.Node, CreatedAt: t.created.UTC()}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.ended != nil {
		cancel(nil)
		done()
		return nil, ts.ended
	}
	if ts.by == nil {
		ts.by = map[core.TaskID]*task{}
	}
	ts.by[t.id] = t
	ts.running.Go(func() {
		defer done()
		defer cancel(nil)
		run(ctx, t)
		time.AfterFunc(kept, func() { ts.forget(t.id) })
	})
	return t, nil
}

// call is a task without a log: work for a caller that waits for it. The returned
// context ends with the caller's, and when tasks are ended.
func (ts *tasks) call(ctx context.Context) (context.Context, func(), error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.ended != nil {
		return nil, nil, ts.ended
	}
	ctx, cancel := context.WithCancelCause(ctx)
	if ts.calls == nil {
		ts.calls = map[context.Context]context.CancelCauseFunc{}
	}
	ts.calls[ctx] = cancel
	ts.running.Add(1)
	return ctx, func() {
		defer ts.running.Done()
		cancel(nil)
		ts.mu.Lock()
		defer ts.mu.Unlock()
		delete(ts.calls, ctx)
	}, nil
}

func (ts *tasks) forget(id core.TaskID) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	delete(ts.by, id)
}

func (ts *tasks) find(id core.TaskID) (*task, error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if t, ok := ts.by[id]; ok {
		return t, nil
	}
	return nil, &core.Fault{Kind: core.TaskNotFound, What: fmt.Sprintf("task %.80s is not there; ended ones are kept for a minute", id)}
}

func (ts *tasks) all() (list []*task) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, t := range ts.by {
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b *task) int { return a.created.Compare(b.created) })
	return list
}

// refuse takes no new tasks from now on.
func (ts *tasks) refuse(why error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.ended = cmp.Or[error](ts.ended, why)
}

// drain takes no new tasks and gives the running ones time until ctx is done.
func (ts *tasks) drain(ctx context.Context) {
	ts.refuse(errEnding)
	done := make(chan struct{})
	go func() { ts.running.Wait(); close(done) }() // ends at the latest with endAll
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// endAll cancels all tasks and waits for them.
func (ts *tasks) endAll(why *core.Fault) {
	ts.refuse(why)
	for _, t := range ts.all() {
		t.cancel(why)
	}
	ts.cancelCalls(why)
	ts.running.Wait()
}

func (ts *tasks) cancelCalls(why error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, cancel := range ts.calls {
		cancel(why)
	}
}

// imported are the files that tasks may name.
type imported struct {
	mu    sync.Mutex // guards paths
	paths map[string]bool
}

func (i *imported) add(path string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.paths == nil {
		i.paths = map[string]bool{}
	}
	i.paths[path] = true
}

func (i *imported) has(path string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.paths[path]
}

// list returns the paths, sorted.
func (i *imported) list() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Sorted(maps.Keys(i.paths))
}
