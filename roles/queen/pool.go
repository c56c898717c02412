package queen

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"rbee/core"
	"rbee/core/api"
	"rbee/registry"
)

// A narrator hears what is being done for a task.
type narrator func(api.Event)

func (say narrator) that(action api.Action, human string) {
	say(&api.Narration{Actor: "queen", Action: action, Human: human})
}

func (say narrator) comment(format string, args ...any) {
	say(&api.Comment{Text: fmt.Sprintf(format, args...)})
}

// A want is a worker that somebody needs: where, and the whole of what it must be.
type want struct {
	registry.Shape

	node  core.NodeName
	slots int  // of a worker that is started for it; 0: the queen's choice
	keep  bool // the model is only to be there: no worker is started
	pin   bool // and never to be removed to make room
}

// A seat is a worker that is ready, with the way to it.
type seat struct {
	registry.Worker

	link *link
	load time.Duration // what this caller waited for it
}

// A pool is the queen's workers. It alone starts them, and forgets those that are
// not there any more.
type pool struct {
	q         *queen
	known     registry.Registry
	providing turns[provision]
}

// A provision is the business of one caller at a time: a model on a node.
type provision struct {
	node  core.NodeName
	model core.ModelRef
}

// Ensure returns a ready worker of the node that has exactly the shape: one that
// is there, one that somebody else has loaded just now, or a new one. A hive that
// is found to have gone is brought up again, once; a node that says nothing any more
// is not called again.
func (p *pool) Ensure(ctx context.Context, w want, say narrator) (seat, error) {
	for again := false; ; again = true {
		l, err := p.q.fleet.Ensure(ctx, w.node, say)
		if err != nil {
			return seat{}, err
		}
		found, err := p.begin(ctx, l, w, say)
		if err == nil {
			return p.await(ctx, l, found, say)
		}
		if again || !errors.Is(err, core.NodeUnreachable) || !gone(ctx, l) || l.silent != nil && l.silent() {
			return seat{}, err
		}
	}
}

// gone tells whether a hive that does not answer is seen to have ended, now or in
// a moment.
func gone(ctx context.Context, l *link) bool {
	select {
	case <-l.gone:
		return true
	case <-ctx.Done():
	case <-time.After(time.Second):
	}
	return false
}

// begin returns a worker that is ready or loading.
func (p *pool) begin(ctx context.Context, l *link, w want, say narrator) (registry.Worker, error) {
	if found, ok := p.there(l, w); ok {
		return found, nil
	}
	var err error
	if w.Model, err = p.q.provide(ctx, l, w, told(say)); err != nil {
		return registry.Worker{}, err
	}
	done, err := p.providing.take(ctx, provision{w.node, w.Model})
	if err != nil {
		return registry.Worker{}, err
	}
	defer done()
	if found, ok := p.known.Fit(l.id, w.Shape); ok { // begun by who had the turn before
		return found, nil
	}
	s, err := p.spawn(ctx, l, w, say)
	if err != nil {
		return registry.Worker{}, err
	}
	if _, err := portOf(s.URL); err != nil {
		return registry.Worker{}, err
	}
	begun := registry.Worker{Shape: w.Shape, ID: s.WorkerID, Node: l.node, Hive: l.id, URL: s.URL, Slots: cmp.Or(w.slots, p.q.slots)}
	p.known.Expect(begun)
	if !l.alive() { // its workers were forgotten before this one was known
		p.known.Remove(begun.ID)
	}
	return begun, nil
}

// there returns a worker of the hive for what a reference stands for there, as far as
// the hive has reported its models.
func (p *pool) there(l *link, w want) (registry.Worker, bool) {
	h, _ := p.q.hives.OfNode(l.node)
	if one, ok := among(w.Model, h.Models); ok {
		w.Model = one
	}
	return p.known.Fit(l.id, w.Shape)
}

// await follows a worker's load until it has called back. Whoever does not wait any
// more leaves the load to others.
func (p *pool) await(ctx context.Context, l *link, w registry.Worker, say narrator) (seat, error) {
	if now, ok := p.known.Find(w.ID); ok && now.Ready {
		return seat{Worker: now, link: l}, nil
	}
	began := time.Now()
	if err := p.loaded(ctx, l, w, say); err != nil {
		if ctx.Err() == nil {
			p.known.Remove(w.ID)
		}
		return seat{}, err
	}
	s := seat{Worker: w, link: l, load: time.Since(began)}
	say.that(api.IsReady, fmt.Sprintf("model loaded in %.1f s", s.load.Seconds()))
	return s, nil
}
