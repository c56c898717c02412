package queen

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
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
// Mostly one has it loaded with a free slot, and nobody else is looked at.
func (q *queen) place(ctx context.Context, w want) core.NodeName {
	r := place.Request{Model: w.Model, Node: w.node}
	if r.Node != "" {
		return r.Node
	}
	if node, ok := q.atHand(w); ok {
		return node
	}
	links := q.fleet.up()
	if len(links) == 0 || len(links) == 1 && links[0].node == core.Localhost {
		return place.Choose(r, nil) // there is no choice
	}
	var known []place.Candidate
	for _, c := range q.survey(ctx, links, w) {
		known = append(known, weighed(c))
	}
	return place.Choose(r, known)
}

// atHand is the best node that has the model loaded with a free slot, and is up.
func (q *queen) atHand(w want) (core.NodeName, bool) {
	var known []place.Candidate
	for _, model := range w.Model.Choices() {
		shape := w.Shape
		shape.Model = model
		for _, one := range q.pool.known.Free(shape, q.slots) {
			h, health := q.health(one.Node)
			l, err := q.fleet.find(one.Node)
			meant, there := among(w.Model, h.Models)
			if err != nil || l == nil || l.id != one.Hive || health != registry.Up || there && meant != model {
				continue
			}
			free := cmp.Or(one.Slots, q.slots) - q.pool.known.Uses(one.ID)
			known = append(known, place.Candidate{Node: one.Node, Loaded: true, FreeSlots: free, FreeBytes: freeOf(h.Devices, w)})
		}
	}
	if len(known) == 0 {
		return "", false
	}
	return place.Choose(place.Request{Model: w.Model}, known), true
}

// weighed is a candidate as the decision sees it.
func weighed(c api.Candidate) place.Candidate {
	return place.Candidate{
		Node: c.Node, Loaded: c.Loaded, FreeSlots: c.FreeSlots, OnDisk: c.OnDisk, FreeBytes: c.FreeBytes,
		TooSmall: c.Fits != nil && !*c.Fits, Suspect: c.State == string(registry.Suspect),
	}
}

// A spot is a candidate, with what the reference stands for there.
type spot struct {
	api.Candidate

	model core.ModelRef
	is    registry.Model
}

// finds notes the model, if it is among those of the candidate.
func (s *spot) finds(ref core.ModelRef, there map[core.ModelRef]registry.Model) {
	if one, ok := among(ref, there); ok {
		s.OnDisk, s.model, s.is = true, one, there[one]
	}
}

// shape is that of a worker for w there.
func (s *spot) shape(w want) registry.Shape {
	w.Model = cmp.Or(s.model, w.Model)
	return w.Shape
}

// survey is what there is for a worker on each node. A hive that reports has said
// it already; the others are asked, all at once. This machine is a candidate even
// while it has no hive.
func (q *queen) survey(ctx context.Context, links []*link, w want) (list []api.Candidate) {
	ctx, cancel := context.WithTimeout(ctx, glance)
	defer cancel()
	spots := make([]spot, len(links))
	var asked sync.WaitGroup
	here := false
	for i, l := range links {
		here = here || l.node == core.Localhost
		spots[i].Candidate = api.Candidate{Node: l.node, Backend: w.Backend, Device: w.Device, State: string(registry.Up)}
		if h, joined := q.hives.OfNode(l.node); joined {
			q.reported(&spots[i], l, h, w)
		} else {
			asked.Go(func() { q.asked(ctx, &spots[i], l, w) })
		}
	}
	asked.Wait()
	if !here {
		spots = append(spots, spot{Candidate: api.Candidate{Node: core.Localhost, Backend: w.Backend, Device: w.Device, State: string(registry.Up)}})
	}
	q.measure(ctx, spots, links, w)
	for _, s := range spots {
		list = append(list, s.Candidate)
	}
	return list
}

// reported is a candidate as its hive has described it, and as we use it.
func (q *queen) reported(c *spot, l *link, h registry.Hive, w want) {
	_, health := q.health(l.node)
	c.finds(w.Model, h.Models)
	c.State, c.FreeBytes = string(health), freeOf(h.Devices, w)
	shape := c.shape(w)
	for _, known := range q.pool.known.Of(l.id) {
		uses := q.pool.known.Uses(known.ID)
		if known.Shape == shape {
			c.Loaded, c.FreeSlots = true, c.FreeSlots+max(cmp.Or(known.Slots, q.slots)-uses, 0)
		}
		if known.Ready && uses == 0 {
			c.Evictable += known.Memory
		}
	}
}

// asked is a candidate as its hive describes it now. What it does not say counts as
// not there.
func (q *queen) asked(ctx context.Context, c *spot, l *link, w want) {
	models, err := l.hive.Models(ctx)
	if err == nil {
		c.finds(w.Model, known(models.Models))
	}
	if workers, err := l.hive.Workers(ctx); err == nil {
		shape := c.shape(w)
		for _, v := range workers.Workers {
			known, ok := q.pool.known.Find(v.ID)
			if ok && known.Hive == l.id && known.Shape == shape && v.State != api.Failed && v.State != api.Stopping {
				c.Loaded, c.FreeSlots = true, c.FreeSlots+v.SlotsAvailable
			}
		}
		idle, _ := q.pool.occupants(l, workers.Workers)
		c.Evictable = sum(idle)
	}
	if has, err := l.hive.Capabilities(ctx); err == nil {
		c.FreeBytes = freeOf(has.Devices, w)
	}
}

// freeOf is the free memory of the device that is wanted.
func freeOf(devices []core.Device, w want) int64 {
	for _, d := range devices {
		if d.Backend == w.Backend && d.Index == w.Device {
			return d.MemoryFreeBytes
		}
	}
	return 0
}

// measure says where the model fits, as far as a hive that has it knows its needs, or
// else the hub.
func (q *queen) measure(ctx context.Context, list []spot, links []*link, w want) {
	if w.Model == core.Embedded {
		return
	}
	var common int64
	for i, l := range links {
		if c := &list[i]; c.OnDisk {
			c.RequiredBytes = q.needs(ctx, l, c, w)
			common = cmp.Or(common, c.RequiredBytes)
		}
	}
	if _, hub := w.Model.Hub(); hub && common == 0 && len(links) > 0 {
		common = q.foretell(ctx, links[0], w)
	}
	for i := range list {
		c := &list[i]
		c.RequiredBytes = cmp.Or(c.RequiredBytes, common)
		if c.RequiredBytes > 0 && c.FreeBytes > 0 && !c.Loaded {
			fits := c.RequiredBytes <= c.FreeBytes+c.Evictable
			c.Fits = &fits
		}
	}
}

// needs is the memory that the model of a hive takes; 0: not known.
func (q *queen) needs(ctx context.Context, l *link, c *spot, w want) int64 {
	key := size{c.model, c.is.Size, c.is.SHA256, w.ContextLength, cmp.Or(w.slots, q.slots)}
	if n, ok := q.sizes.get(key); ok {
		return n
	}
	n, err := l.hive.Needs(ctx, c.model, key.context, key.slots)
	switch {
	case err == nil:
		q.sizes.put(key, n.TotalBytes, always)
	case ctx.Err() == nil:
		q.sizes.put(key, 0, forNow)
	}
	return n.TotalBytes
}

// foretell is the memory that a model takes which no hive has, as a hive finds out at
// the hub; 0: not known.
func (q *queen) foretell(ctx context.Context, l *link, w want) int64 {
	key := size{model: w.Model, context: w.ContextLength, slots: cmp.Or(w.slots, q.slots)}
	if n, ok := q.sizes.get(key); ok {
		return n
	}
	r, err := l.hive.Resolve(ctx, api.ResolveRequest{ModelRef: w.Model, Use: api.Use{ContextLength: key.context, Slots: key.slots}})
	if errors.Is(err, core.InsufficientMemory) { // there; not everywhere
		r.NeedsBytes = number(err, "required_bytes")
	}
	q.sizes.put(key, r.NeedsBytes, forNow)
	return r.NeedsBytes
}

// A size is all that the memory of a model depends on: another content under the same
// name is another model.
type size struct {
	model          core.ModelRef
	bytes          int64
	sha256         string
	context, slots int
}

// How long sizes are remembered.
const (
	always = 24 * time.Hour
	forNow = time.Minute // what the hub says, or nobody
)

// sizes are what models need, once somebody has said it.
type sizes struct {
	mu sync.Mutex // guards by
	by map[size]remembered
}

type remembered struct {
	bytes int64
	until time.Time
}

func (s *sizes) get(key size) (int64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.by[key]
	return r.bytes, ok && time.Now().Before(r.until)
}

func (s *sizes) put(key size, bytes int64, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil || len(s.by) > 10_000 {
		s.by = map[size]remembered{}
	}
	s.by[key] = remembered{bytes, time.Now().Add(d)}
}

// where is GET /v2/where?model=&node=&context_length=&slots=: the places of a
// model in the order of preference, and why none but the first is taken.
func (q *queen) where(c echo.Context) error {
	number := func(name string) int {
		n, _ := strconv.Atoi(c.QueryParam(name)) // 0 is the default
		return max(n, 0)
	}
	model, err := q.resolve(c.Request().Context(), core.ModelRef(c.QueryParam("model")))
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
	slices.SortStableFunc(list, func(a, b api.Candidate) int { return place.Compare(weighed(a), weighed(b)) })
	chosen := cmp.Or(w.node, list[0].Node) // there is always this machine
	for i := range list {
		if one := &list[i]; one.Node == chosen {
			one.Chosen = true
		} else {
			one.Why = whyNot(*one, w.node)
		}
	}
	out := api.Candidates{Candidates: list}
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
