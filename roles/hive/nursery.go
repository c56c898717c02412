package hive

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"rbee/core"
	"rbee/core/lease"
	"rbee/core/secure"
)

// A nursery owns what lives on this hive: the leases by which others hold it, the
// workers under them, and the memory that workers which load have been promised.
// All three change together, or a worker would begin under a lease that has ended,
// or two of them in the same memory.
type nursery struct {
	mu      sync.Mutex // guards all below; it is held while a child starts, some milliseconds
	leases  map[string]lease.Boot
	workers map[core.WorkerID]*worker
	closed  bool
	running sync.WaitGroup // of the watchers and callbacks
}

// A load is the memory of workers in bytes.
type load struct {
	promised int64 // that those which load will still take
	taken    int64 // that all of them have or will have
}

var errEnding = &core.Fault{Kind: core.ShuttingDown, What: "the hive is ending"}

// hold registers a lease.
func (n *nursery) hold(id string, b lease.Boot) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return errEnding
	}
	if _, twice := n.leases[id]; twice {
		return &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("lease %s is held already", id)}
	}
	if n.leases == nil {
		n.leases = map[string]lease.Boot{}
	}
	n.leases[id] = b
	return nil
}

// lease returns the lease of that id; there is always one of "", the hive's own.
func (n *nursery) lease(id string) (lease.Boot, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.find(id)
}

func (n *nursery) find(id string) (lease.Boot, error) {
	b, ok := n.leases[id]
	if !ok && id != "" {
		return b, &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("lease %s is not held here", id)}
	}
	return b, nil
}

// lent tells whether a worker lives by the lease of an ephemeral queen.
func (n *nursery) lent(id core.WorkerID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	w, there := n.workers[id]
	if !there {
		return false
	}
	b, held := n.leases[w.leaseID]
	return held && b.Mode != core.Persistent
}

// byToken returns the lease whose token it is, "" when there is none.
func (n *nursery) byToken(token string) (id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for lease, b := range n.leases {
		if b.Token != "" && secure.Equal(b.Token, token) {
			id = lease
		}
	}
	return id
}

// endLease forgets a lease: from here on no worker begins under it. It returns
// those that have.
func (n *nursery) endLease(id string) []*worker {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.leases, id)
	return n.matching(func(w *worker) bool { return w.leaseID == id })
}

// spawn starts a worker by start and registers it, if the hive is not ending, its
// lease is still held, and there is room beside what the others have and will take.
func (n *nursery) spawn(w *worker, room func(others load) error, start func() error) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return errEnding
	}
	if _, err := n.find(w.leaseID); err != nil {
		return err
	}
	if _, twice := n.workers[w.id]; twice {
		return &core.Fault{Kind: core.WorkerRegistered, What: fmt.Sprintf("worker %s is here already", w.id)}
	}
	var others load
	for _, other := range n.workers {
		others.promised += other.promised()
		others.taken += other.taken()
	}
	if err := room(others); err != nil {
		return err
	}
	if err := start(); err != nil {
		return err
	}
	if n.workers == nil {
		n.workers = map[core.WorkerID]*worker{}
	}
	n.workers[w.id] = w
	return nil
}

// settle waits until the memory of a device is back from the workers that have ended
// there: what is in use for a moment only must neither be counted nor run into.
func (n *nursery) settle(ctx context.Context, backend core.Backend, device int) error {
	for _, w := range n.all("") {
		if w.backend != backend || w.device != device || !w.gone() {
			continue
		}
		select {
		case <-w.back:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// taken is the memory that the workers have or will have, in bytes.
func (n *nursery) taken() (bytes int64) {
	for _, w := range n.all("") {
		bytes += w.taken()
	}
	return bytes
}

func (n *nursery) worker(id core.WorkerID) (*worker, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if w, ok := n.workers[id]; ok {
		return w, nil
	}
	return nil, &core.Fault{Kind: core.WorkerNotFound, What: fmt.Sprintf("worker %s is not of this hive", id)}
}

func (n *nursery) remove(id core.WorkerID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.workers, id)
}

// all returns the workers, by id; those of a lease only if one is given.
func (n *nursery) all(leaseID string) []*worker {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.matching(func(w *worker) bool { return leaseID == "" || w.leaseID == leaseID })
}

func (n *nursery) matching(match func(*worker) bool) (list []*worker) {
	for _, w := range n.workers {
		if match(w) {
			list = append(list, w)
		}
	}
	slices.SortFunc(list, func(a, b *worker) int { return cmp.Compare(a.id, b.id) })
	return list
}

// close lets nothing in any more.
func (n *nursery) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
}
