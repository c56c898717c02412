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

// A Shape is all that makes one worker do for a request. Zero numbers are the
// defaults, which fit nobody who gave a number.
type Shape struct {
	Model         core.ModelRef
	Backend       core.Backend
	Device        int
	ContextLength int
	Threads       int
}

// A Worker is one process that serves a model.
type Worker struct {
	Shape

	ID    core.WorkerID
	Node  core.NodeName
	Hive  string // which hive started it, of those that the node has had; empty: nobody expected it
	URL   string // with the node's name as host
	Ready bool   // it has called back
	Told  bool   // a report of its hive had it

	Slots  int   // answers it makes at once; 0: not known yet
	Memory int64 // bytes that it has; 0: not known yet
}

// A Registry is safe for use by many at once. The zero value is empty.
type Registry struct {
	mu      sync.Mutex // guards all
	workers map[core.WorkerID]Worker
	of      map[string]map[core.WorkerID]bool // the workers of a hive
	shaped  map[Shape]map[core.WorkerID]bool  // the workers of a shape
	uses    map[core.WorkerID]int             // answers under way
	changed chan struct{}                     // closed at the next change
}

// ErrGone says that a worker that was waited for is not there any more.
var ErrGone = errors.New("registry: the worker is gone")

// Expect registers a worker that was started. It knows the worker better than a
// callback, which may have been faster.
func (r *Registry) Expect(w Worker) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w.Ready = r.workers[w.ID].Ready
	r.put(w)
}

// Ready takes a worker's callback. Twice the same is fine; a known worker with
// another URL is core.WorkerRegistered.
func (r *Registry) Ready(w Worker) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old, ok := r.workers[w.ID]; ok {
		if old.URL != w.URL {
			return &core.Fault{Kind: core.WorkerRegistered, What: fmt.Sprintf("worker %s is registered at %s, not at %s", w.ID, old.URL, w.URL)}
		}
		w = old
	}
	w.Ready = true
	r.put(w)
	return nil
}

// Use notes that an answer of a worker is under way, until the returned function is called.
func (r *Registry) Use(id core.WorkerID) (end func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.uses == nil {
		r.uses = map[core.WorkerID]int{}
	}
	r.uses[id]++
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.uses[id]--; r.uses[id] <= 0 {
			delete(r.uses, id)
		}
	}
}

// Uses is how many answers of a worker are under way.
func (r *Registry) Uses(id core.WorkerID) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.uses[id]
}

// Remove forgets a worker.
func (r *Registry) Remove(id core.WorkerID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(id)
	r.tell()
}

// Report takes what a hive says of its workers: the whole list of those that are
// ready. New ones are registered, as after a restart of this registry; one that was
// reported before and is missing has ended.
func (r *Registry) Report(hive string, list []Worker) {
	r.mu.Lock()
	defer r.mu.Unlock()
	there := map[core.WorkerID]bool{}
	for _, w := range list {
		if old, ok := r.workers[w.ID]; ok && old.Hive != "" {
			old.Slots, old.Memory = w.Slots, w.Memory
			w = old
		}
		w.Hive, w.Ready, w.Told = hive, true, true
		there[w.ID] = true
		r.put(w)
	}
	for id := range r.of[hive] {
		if !there[id] && r.workers[id].Told {
			r.drop(id)
		}
	}
	r.tell()
}

// RemoveHive forgets the workers of a hive.
func (r *Registry) RemoveHive(hive string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.of[hive] {
		r.drop(id)
	}
	r.tell()
}

func (r *Registry) put(w Worker) {
	r.drop(w.ID) // it may have been of no hive before
	if r.workers == nil {
		r.workers = map[core.WorkerID]Worker{}
		r.of, r.shaped = map[string]map[core.WorkerID]bool{}, map[Shape]map[core.WorkerID]bool{}
	}
	r.workers[w.ID] = w
	file(r.of, w.Hive, w.ID)
	file(r.shaped, w.Shape, w.ID)
	r.tell()
}

func (r *Registry) drop(id core.WorkerID) {
	w, ok := r.workers[id]
	if !ok {
		return
	}
	delete(r.workers, id)
	unfile(r.of, w.Hive, id)
	unfile(r.shaped, w.Shape, id)
}

// file puts an id under a key of an index.
func file[K comparable](index map[K]map[core.WorkerID]bool, key K, id core.WorkerID) {
	if index[key] == nil {
		index[key] = map[core.WorkerID]bool{}
	}
	index[key][id] = true
}

func unfile[K comparable](index map[K]map[core.WorkerID]bool, key K, id core.WorkerID) {
	if delete(index[key], id); len(index[key]) == 0 {
		delete(index, key)
	}
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

// Fit returns a worker of the hive that has exactly the shape, a ready one before
// one that loads.
func (r *Registry) Fit(hive string, s Shape) (fit Worker, ok bool) {
	for _, w := range r.Of(hive) {
		if w.Shape == s && (!ok || w.Ready && !fit.Ready) {
			fit, ok = w, true
		}
	}
	return fit, ok
}

// Of returns the workers of a hive, by id.
func (r *Registry) Of(hive string) []Worker {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]Worker, 0, len(r.of[hive]))
	for id := range r.of[hive] {
		list = append(list, r.workers[id])
	}
	return byID(list)
}

// Free returns the ready workers of the shape that have fewer answers under way than
// slots; those whose slots are not known count as having few.
func (r *Registry) Free(s Shape, few int) (list []Worker) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.shaped[s] {
		if w := r.workers[id]; w.Ready && r.uses[id] < cmp.Or(w.Slots, few) {
			list = append(list, w)
		}
	}
	return list
}

// List returns all workers, by id.
func (r *Registry) List() []Worker {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []Worker
	for _, w := range r.workers {
		all = append(all, w)
	}
	return byID(all)
}

func byID(list []Worker) []Worker {
	slices.SortFunc(list, func(a, b Worker) int { return cmp.Compare(a.ID, b.ID) })
	return list
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
