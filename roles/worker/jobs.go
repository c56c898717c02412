package worker

import (
	"context"
	"fmt"
	"sync"
	"time"

	"rbee/core"
)

// jobs are the answers under way, by id.
type jobs struct {
	mu     sync.Mutex // guards all
	by     map[core.TaskID]context.CancelFunc
	last   time.Time // when the last one ended
	closed bool      // no more begin
	empty  chan struct{}
}

// idle is how long no job has been under way.
func (j *jobs) idle() time.Duration {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.quiet()
}

func (j *jobs) quiet() time.Duration {
	if len(j.by) > 0 || j.last.IsZero() {
		j.last = time.Now()
	}
	return time.Since(j.last)
}

// close lets no more jobs begin, but only if none has been under way for so long:
// whoever asked first and ended the worker then would end an answer that began
// between the two.
func (j *jobs) close(idle time.Duration) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if idle > 0 && j.quiet() < idle {
		return false
	}
	j.closed = true
	return true
}

// drained lets no more jobs begin and returns when none is under way, or when ctx
// is done.
func (j *jobs) drained(ctx context.Context) {
	j.mu.Lock()
	j.closed = true
	if len(j.by) == 0 {
		j.mu.Unlock()
		return
	}
	if j.empty == nil {
		j.empty = make(chan struct{})
	}
	empty := j.empty
	j.mu.Unlock()
	select {
	case <-empty:
	case <-ctx.Done():
	}
}

// begin registers a job; it fails when the id is in use, or when the worker ends.
func (j *jobs) begin(ctx context.Context, id core.TaskID) (context.Context, func(), error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil, nil, &core.Fault{Kind: core.ShuttingDown, What: "the worker is ending"}
	}
	if _, twice := j.by[id]; twice {
		return nil, nil, &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("job %s is under way already", id)}
	}
	if j.by == nil {
		j.by = map[core.TaskID]context.CancelFunc{}
	}
	ctx, cancel := context.WithCancel(ctx)
	j.by[id] = cancel
	return ctx, func() {
		cancel()
		j.end(id)
	}, nil
}

func (j *jobs) end(id core.TaskID) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.by, id)
	j.last = time.Now()
	if len(j.by) == 0 && j.empty != nil {
		close(j.empty)
		j.empty = nil
	}
}

// cancel ends a job; one that is not there has ended.
func (j *jobs) cancel(id core.TaskID) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if cancel, ok := j.by[id]; ok {
		cancel()
	}
}
