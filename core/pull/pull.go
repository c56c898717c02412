// Package pull lets one download serve all who want it: it runs once, each of them
// follows it, and the last one to leave ends it.
package pull

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/secure"
)

// A Pull is one model on its way. Its methods may be called at once.
type Pull struct {
	ID string

	cancel context.CancelCauseFunc

	mu      sync.Mutex // guards all below
	wanted  int        // by so many
	pin     bool
	stages  []api.PullStage // one for each that it came to, as it was last said
	first   int             // number of stages[0]
	changed chan struct{}   // closed at the next change
}

// mostStages is how many are kept.
const mostStages = 64

// ErrUnwanted is the end of a pull that nobody waits for any more.
var ErrUnwanted = &core.Fault{
	Kind: core.DownloadFailed, What: "the download was cancelled; what is there of it stays",
	Try: "ask again: it goes on where it was",
}

// Say makes the newest stage known. What was found out before is kept: the whole
// reference, what was decided, and where the bytes come from.
func (p *Pull) Say(s api.PullStage) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := &p.stages[len(p.stages)-1]
	if last.Final() {
		return
	}
	s.ModelRef, s.Note, s.From = cmp.Or(s.ModelRef, last.ModelRef), cmp.Or(s.Note, last.Note), cmp.Or(s.From, last.From)
	if s.Stage == last.Stage {
		s.Total = cmp.Or(s.Total, last.Total)
		*last = s
	} else {
		p.stages = append(p.stages, s)
	}
	if n := len(p.stages) - mostStages; n > 0 {
		p.stages, p.first = p.stages[n:], p.first+n
	}
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

// Now returns the newest stage.
func (p *Pull) Now() api.PullStage {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stages[len(p.stages)-1]
}

// since returns the stages from a number on, the number of the newest, and what is
// closed when there is more to say.
func (p *Pull) since(n int) ([]api.PullStage, int, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.changed == nil {
		p.changed = make(chan struct{})
	}
	return slices.Clone(p.stages[max(n-p.first, 0):]), p.first + len(p.stages) - 1, p.changed
}

// Follow calls f with each stage, and again with the newest when it has changed, until
// the last one, which it returns: its Err says why the pull failed. Follow itself fails
// when f does, or with the cause of ctx.
func (p *Pull) Follow(ctx context.Context, f func(api.PullStage) error) (last api.PullStage, err error) {
	for n := 0; ; {
		stages, newest, changed := p.since(n)
		for _, last = range stages {
			if err := f(last); err != nil || last.Final() {
				return last, err
			}
		}
		n = newest
		select {
		case <-changed:
		case <-ctx.Done():
			return last, context.Cause(ctx)
		}
	}
}

// Pinned tells whether somebody wants the model never to be removed for others.
func (p *Pull) Pinned() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pin
}

// want counts one more who wants it.
func (p *Pull) want(pin bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wanted++
	p.pin = p.pin || pin
}

// unwant counts one less, and tells whether nobody is left.
func (p *Pull) unwant() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wanted = max(p.wanted-1, 0)
	return p.wanted == 0
}

// A Run makes a pull: it says the stages, and returns the last one or why there is none.
type Run func(ctx context.Context, p *Pull) (api.PullStage, error)

// Pulls are those under way, by what is pulled, and those that have just ended.
type Pulls[K comparable] struct {
	base    context.Context //nolint:containedctx // of all pulls: they outlive the calls that began them
	running sync.WaitGroup

	mu    sync.Mutex // guards all below
	by    map[string]*Pull
	under map[K]*Pull
	ended error // set when no new ones are taken
}

// New returns pulls that live at most as long as base.
func New[K comparable](base context.Context) *Pulls[K] {
	return &Pulls[K]{base: base, by: map[string]*Pull{}, under: map[K]*Pull{}}
}

// kept is how long the last stage of a pull can be found.
const kept = time.Minute

// Join returns the pull of that key, which run makes if nobody has begun it. Whoever
// has joined leaves once.
func (ps *Pulls[K]) Join(key K, model core.ModelRef, pin bool, run Run) (*Pull, error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.ended != nil {
		return nil, ps.ended
	}
	p := ps.under[key]
	if p == nil {
		p = ps.begin(key, model, run)
	}
	p.want(pin)
	return p, nil
}

// begin starts a pull. ps.mu is held.
func (ps *Pulls[K]) begin(key K, model core.ModelRef, run Run) *Pull {
	ctx, cancel := context.WithCancelCause(ps.base)
	p := &Pull{ID: "d-" + secure.RandomID(), cancel: cancel, stages: []api.PullStage{{Stage: api.StageResolving, ModelRef: model}}}
	ps.by[p.ID], ps.under[key] = p, p
	ps.running.Go(func() {
		defer cancel(nil)
		last, err := run(ctx, p)
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			last = api.FailedStage(core.Public(err))
		}
		ps.finish(p)
		p.Say(last)
		time.AfterFunc(kept, func() { ps.forget(p) })
	})
	return p
}

// Leave is for one who does not want the pull any more.
func (ps *Pulls[K]) Leave(p *Pull) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p.unwant() {
		ps.close(p) // nobody joins what ends
		p.cancel(ErrUnwanted)
	}
}

// close takes a pull from those that can be joined. ps.mu is held.
func (ps *Pulls[K]) close(p *Pull) {
	maps.DeleteFunc(ps.under, func(_ K, other *Pull) bool { return other == p })
}

func (ps *Pulls[K]) finish(p *Pull) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.close(p)
}

func (ps *Pulls[K]) forget(p *Pull) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	delete(ps.by, p.ID)
}

// Find returns a pull by its id, also for a minute after its end.
func (ps *Pulls[K]) Find(id string) (*Pull, error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p, ok := ps.by[id]; ok {
		return p, nil
	}
	return nil, &core.Fault{Kind: core.ModelNotFound, What: fmt.Sprintf("download %.80s is not there; ended ones are kept for a minute", id)}
}

// Any returns the newest stage of a pull under way that matches.
func (ps *Pulls[K]) Any(match func(K, api.PullStage) bool) (s api.PullStage, ok bool) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for key, p := range ps.under {
		if s = p.Now(); match(key, s) {
			return s, true
		}
	}
	return api.PullStage{}, false
}

// End ends all pulls for a reason, takes no more, and returns when they have ended.
func (ps *Pulls[K]) End(why error) {
	ps.mu.Lock()
	ps.ended = why
	for _, p := range ps.under {
		p.cancel(why)
	}
	ps.mu.Unlock()
	ps.running.Wait()
}
