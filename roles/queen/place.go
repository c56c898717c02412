package queen

import (
	"cmp"
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"rbee/core"
	"rbee/core/api"
	"rbee/registry"
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
	var known []place.Candidate
	for _, c := range q.survey(ctx, links, w) {
		known = append(known, weighed(c))
	}
	return place.Choose(r, known)
}

// weighed is a candidate as the decision sees it.
func weighed(c api.Candidate) place.Candidate {
	return place.Candidate{
		Node: c.Node, Loaded: c.Loaded, FreeSlots: c.FreeSlots, OnDisk: c.OnDisk, FreeBytes: c.FreeBytes,
		TooSmall: c.Fits != nil && !*c.Fits, Suspect: c.State == string(registry.Suspect),
	}
}

// survey asks all hives at once what they have for a worker. This machine is a
// candidate even while it has no hive.
func (q *queen) survey(ctx context.Context, links []*link, w want) []api.Candidate {
	ctx, cancel := context.WithTimeout(ctx, glance)
	defer cancel()
	list := make([]api.Candidate, len(links))
	var all sync.WaitGroup
	here := false
	for i, l := range links {
		here = here || l.node == core.Localhost
		all.Go(func() { list[i] = q.candidate(ctx, l, w) })
	}
	all.Wait()
	if !here {
		list = append(list, api.Candidate{Node: core.Localhost, Backend: w.Backend, Device: w.Device, State: string(registry.Up)})
	}
	needed := int64(0)
	for _, c := range list {
		needed = max(needed, c.RequiredBytes)
	}
	for i := range list {
		list[i].RequiredBytes = needed
		if c := &list[i]; needed > 0 && c.FreeBytes > 0 && !c.Loaded {
			fits := needed <= c.FreeBytes+c.Evictable
			c.Fits = &fits
		}
	}
	return list
}

// candidate is one node. What it does not say counts as not there.
func (q *queen) candidate(ctx context.Context, l *link, w want) api.Candidate {
	_, health := q.health(l.node)
	c := api.Candidate{Node: l.node, Backend: w.Backend, Device: w.Device, State: string(health), OnDisk: w.Model == core.Embedded}
	if workers, err := l.hive.Workers(ctx); err == nil {
		for _, v := range workers.Workers {
			known, ok := q.pool.known.Find(v.ID)
			if ok && known.Hive == l.id && known.Shape == w.Shape && v.State != api.Failed && v.State != api.Stopping {
				c.Loaded, c.FreeSlots = true, c.FreeSlots+v.SlotsAvailable
			}
		}
		idle, _ := q.pool.occupants(l, workers.Workers)
		c.Evictable = sum(idle)
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
	if c.OnDisk {
		if n, err := l.hive.Needs(ctx, w.Model, w.ContextLength, cmp.Or(w.slots, q.slots)); err == nil {
			c.RequiredBytes = n.TotalBytes
		}
	}
	return c
}

// where is GET /v2/where?model=&node=&context_length=&slots=: the places of a
// model in the order of preference, and why none but the first is taken.
func (q *queen) where(c echo.Context) error {
	number := func(name string) int {
		n, _ := strconv.Atoi(c.QueryParam(name)) // 0 is the default
		return max(n, 0)
	}
	model, err := q.resolve(core.ModelRef(c.QueryParam("model")))
	if err != nil {
		return err
	}
	w := wantOf(&api.TaskRequest{
		Model: model, Node: core.NodeName(c.QueryParam("node")), Backend: core.Backend(c.QueryParam("backend")),
		ContextLength: number("context_length"), Threads: number("threads"),
	})
	w.slots = number("slots")
	ctx := c.Request().Context()
	list := q.survey(ctx, q.fleet.up(), w)
	out := api.Candidates{Candidates: []api.Candidate{}}
	var known []place.Candidate
	for _, one := range list {
		known = append(known, weighed(one))
	}
	chosen := place.Choose(place.Request{Model: model, Node: w.node}, known)
	for _, k := range place.Order(known) {
		for _, one := range list {
			if one.Node != k.Node {
				continue
			}
			if one.Chosen = one.Node == chosen; !one.Chosen {
				one.Why = whyNot(one, w.node)
			}
			out.Candidates = append(out.Candidates, one)
		}
	}
	for _, h := range q.fleet.absent() {
		if h.Node != core.Localhost { // which is a candidate without a hive
			out.Candidates = append(out.Candidates, api.Candidate{Node: h.Node, Backend: w.Backend, State: h.State, Why: cmp.Or(h.Error, "it is not up")})
		}
	}
	return c.JSON(http.StatusOK, out)
}

// whyNot says what speaks against a candidate.
func whyNot(c api.Candidate, asked core.NodeName) string {
	switch {
	case asked != "":
		return "another node was asked for"
	case c.Fits != nil && !*c.Fits:
		return "it does not fit"
	case c.State == string(registry.Suspect):
		return "it has said nothing for a while"
	case c.Loaded && c.FreeSlots == 0:
		return "all slots are busy"
	case c.Loaded:
		return "another node has it loaded, too"
	case c.OnDisk:
		return "another node has it loaded, or more memory"
	}
	return "another node has the model, or more memory"
}
