package queen

import (
	"context"
	"sync"
	"time"

	"rbee/core"
	"rbee/core/api"
	"rbee/registry/place"
)

// glance is how long a node may take to say what it has: a slow one is taken as it
// is known.
const glance = 2 * time.Second

// place returns the node for a worker: the one that was asked for, or the best.
func (q *queen) place(ctx context.Context, w want) core.NodeName {
	r := place.Request{Model: w.Model, Node: w.node}
	links := q.fleet.up()
	if w.node != "" || len(links) == 0 || len(links) == 1 && links[0].node == core.Localhost {
		return place.Choose(r, nil) // there is no choice
	}
	return place.Choose(r, q.survey(ctx, links, w))
}

// survey asks all hives at once what they have for a worker. This machine is a
// candidate even while it has no hive.
func (q *queen) survey(ctx context.Context, links []*link, w want) []place.Candidate {
	ctx, cancel := context.WithTimeout(ctx, glance)
	defer cancel()
	list := make([]place.Candidate, len(links))
	var all sync.WaitGroup
	here := false
	for i, l := range links {
		here = here || l.node == core.Localhost
		all.Go(func() { list[i] = q.candidate(ctx, l, w) })
	}
	all.Wait()
	if !here {
		list = append(list, place.Candidate{Node: core.Localhost})
	}
	return list
}

// candidate is one node. What it does not say counts as not there.
func (q *queen) candidate(ctx context.Context, l *link, w want) place.Candidate {
	c := place.Candidate{Node: l.node, OnDisk: w.Model == core.Embedded}
	if workers, err := l.hive.Workers(ctx); err == nil {
		for _, v := range workers.Workers {
			known, ok := q.pool.known.Find(v.ID)
			if ok && known.Hive == l.id && known.Shape == w.Shape && v.State != api.Failed && v.State != api.Stopping {
				c.Loaded, c.FreeSlots = true, c.FreeSlots+v.SlotsAvailable
			}
		}
	}
	if models, err := l.hive.Models(ctx); err == nil {
		for _, m := range models.Models {
			c.OnDisk = c.OnDisk || m.Ref == w.Model
		}
	}
	if has, err := l.hive.Capabilities(ctx); err == nil {
		for _, d := range has.Devices {
			if d.Backend == w.Backend && d.Index == w.Device {
				c.FreeBytes = d.MemoryFreeBytes
			}
		}
	}
	return c
}
