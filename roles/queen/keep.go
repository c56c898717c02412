package queen

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"rbee/core"
	"rbee/core/api"
	"rbee/registry"
)

// always makes the pool: this machine and the given nodes.
func (f *fleet) always(nodes []string) {
	f.pool = []core.NodeName{core.Localhost}
	for _, n := range nodes {
		if name := core.NodeName(n); !slices.Contains(f.pool, name) {
			f.pool = append(f.pool, name)
		}
	}
}

// keepUp begins to hold the hives of the pool, until ctx is done. One that is gone
// is brought up again, with longer and longer pauses; a dead node delays no other.
func (f *fleet) keepUp(ctx context.Context) {
	for _, node := range f.pool {
		f.keepers.Go(func() { f.keep(ctx, node) })
	}
	f.keepers.Go(func() { f.watchSilence(ctx) })
}

// Bounds of the pauses between two attempts at a node.
const (
	shortPause = time.Second
	longPause  = time.Minute
)

// keep holds one node.
func (f *fleet) keep(ctx context.Context, node core.NodeName) {
	for pause := shortPause; ctx.Err() == nil; {
		l, err := f.Ensure(ctx, node, f.logged(node))
		f.note(node, err)
		if err == nil {
			pause = shortPause
			select {
			case <-l.gone:
			case <-ctx.Done():
				return
			}
		} else if ctx.Err() == nil {
			f.q.d.Log.Warn("node is not up", "node", string(node), "error", err.Error(), "again_in", pause.String())
		}
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
			return
		}
		pause = min(2*pause, longPause)
	}
}

// logged is the narrator of what nobody asked for.
func (f *fleet) logged(node core.NodeName) narrator {
	return func(ev api.Event) {
		if n, ok := ev.(*api.Narration); ok {
			f.q.d.Log.Info("bring-up", "node", string(node), "action", string(n.Action), "says", n.Human)
		}
	}
}

// watchSilence gives hives up that have said nothing for too long although their
// lease seems to be held: a hive that was stopped holds its pipe.
func (f *fleet) watchSilence(ctx context.Context) {
	tick := time.NewTicker(max(f.q.d.Settings.Limits.Heartbeat/3, 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		var ends sync.WaitGroup
		for _, l := range f.up() {
			if h, health := f.q.health(l.node); health == registry.Gone {
				f.q.d.Log.Warn("hive says nothing", "node", string(l.node), "last_seen", h.Seen.Format(time.RFC3339))
				ends.Go(func() { f.end(l) }) //nolint:contextcheck // an end has its own time
			}
		}
		ends.Wait()
	}
}

// note keeps why a node of the pool is not up; nil: it is.
func (f *fleet) note(node core.NodeName, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down == nil {
		f.down = map[core.NodeName]error{}
	}
	if f.down[node] = err; err == nil {
		delete(f.down, node)
	}
}

// absent are the nodes of the pool that have no hive now, and why, as far as that
// is known.
func (f *fleet) absent() (list []api.Hive) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.q.d.Mode != core.Persistent {
		return nil
	}
	for _, node := range f.pool {
		if l := f.links[node]; l != nil && l.alive() {
			continue
		}
		h := api.Hive{Node: node, State: string(registry.Gone)}
		if err := f.down[node]; err != nil {
			h.Error = core.Public(err).Error()
		}
		list = append(list, h)
	}
	return list
}
