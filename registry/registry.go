// Package registry knows the workers that live now. It is memory only: workers
// pass, and after a restart the hives tell again.
package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"rbee/core"
)

// A Worker is one process that serves a model.
type Worker struct {
	ID      core.WorkerID
	Node    core.NodeName
	URL     string // with the node's name as host
	Model   core.ModelRef
	Backend core.Backend
	Device  int
	Ready   bool // it has called back
}

// A Registry is safe for use by many at once. The zero value is empty.
type Registry struct {
	mu      sync.Mutex // guards all
	workers map[core.WorkerID]Worker
	changed chan struct{} // closed at the next change
}

// ErrGone says that a worker that was waited for is not there any more.
var ErrGone = errors.New("registry: the worker is gone")

// Expect registers a worker that was started and has not called back.
func (r *Registry) Expect(w Worker) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old, ok := r.workers[w.ID]; !ok || !old.Ready { // a callback may have been faster
		r.put(w)
	}
}

// Ready takes a worker's callback. Twice the same is fine; a known worker with
// another URL is core.WorkerRegistered.
func (r *Registry) Ready(w Worker) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old, ok := r.workers[w.ID]; ok && old.URL != w.URL {
		return &core.Fault{Kind: core.WorkerRegistered, What: fmt.Sprintf("worker %s is registered at %s, not at %s", w.ID, old.URL, w.URL)}
	}
	w.Ready = true
	r.put(w)
	return nil
}

// Remove forgets a worker.
func (r *Registry) Remove(id core.WorkerID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.workers, id)
	r.tell()
}

// RemoveNode forgets the workers of a node.
func (r *Registry) RemoveNode(node core.NodeName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, w := range r.workers {
		if w.Node == node {
			delete(r.workers, id)
		}
	}
	r.tell()
}

func (r *Registry) put(w Worker) {
	if r.workers == nil {
		r.workers = map[core.WorkerID]Worker{}
	}
	r.workers[w.ID] = w
	r.tell()
}

func (r *Registry) tell() {
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// Find returns a worker.
func (r *Registry) Find(id core.WorkerID) (Worker, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w, ok := r.workers[id]
	return w, ok
}

// List returns all workers, by id.
func (r *Registry) List() []Worker {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []Worker
	for _, w := range r.workers {
		all = append(all, w)
	}
	slices.SortFunc(all, func(a, b Worker) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// Await returns the worker as soon as it is ready. It fails with ErrGone when the
// worker is removed, or with the cause of ctx.
func (r *Registry) Await(ctx context.Context, id core.WorkerID) (Worker, error) {
	for {
		w, ok, changed := r.look(id)
		switch {
		case !ok:
			return Worker{}, ErrGone
		case w.Ready:
			return w, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Worker{}, context.Cause(ctx)
		}
	}
}

func (r *Registry) look(id core.WorkerID) (Worker, bool, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changed == nil {
		r.changed = make(chan struct{})
	}
	w, ok := r.workers[id]
	return w, ok, r.changed
}
