package hive

import (
	"context"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"rbee/catalog"
	"rbee/core"
)

// hashes are the models whose files wait to be hashed, each once.
type hashes struct {
	mu     sync.Mutex // guards queued
	queued map[core.ModelRef]bool
	models chan catalog.Model
	once   sync.Once
}

const mostHashes = 256

func (q *hashes) waiting() chan catalog.Model {
	q.once.Do(func() { q.models = make(chan catalog.Model, mostHashes) })
	return q.models
}

// add queues a model. When too many wait, it waits for its next use.
func (q *hashes) add(m catalog.Model) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.queued[m.Ref] {
		return
	}
	select {
	case q.waiting() <- m:
		if q.queued == nil {
			q.queued = map[core.ModelRef]bool{}
		}
		q.queued[m.Ref] = true
	default:
	}
}

func (q *hashes) done(m catalog.Model) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.queued, m.Ref)
}

// importFile registers a file and has it hashed.
func (h *hive) importFile(ctx context.Context, path string) (catalog.Model, error) {
	defer h.report.changed()
	m, err := h.catalog.Import(ctx, path)
	if err == nil && m.SHA256 == "" {
		h.hashes.add(m)
	}
	return m, err
}

// hashAll hashes imported files, one after the other, on a thread that takes only
// the time that nobody else wants: answers come first.
func (h *hive) hashAll(ctx context.Context) error {
	runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
	const least = 19
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), least) // else it is only less polite
	for {
		select {
		case <-ctx.Done():
			return nil
		case m := <-h.hashes.waiting():
			if _, err := h.catalog.Hash(ctx, m); err != nil && ctx.Err() == nil {
				h.d.Log.Warn("hash", "model", string(m.Ref), "error", err.Error())
			}
			h.hashes.done(m)
		}
	}
}
