package queen

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/pull"
	"rbee/registry"
)

// A delivery is what a pull brings, and where to.
type delivery struct {
	link  string // its id
	model core.ModelRef
	keep  bool // it is not to be loaded now
}

// provide sees to it that a hive has a model, and returns which one the reference
// stands for there. Whoever wants the same on the same node has one pull together.
func (q *queen) provide(ctx context.Context, l *link, w want, told func(api.PullStage) error) (core.ModelRef, error) {
	if w.Model == core.Embedded {
		return w.Model, nil
	}
	key := delivery{l.id, w.Model, w.keep}
	p, err := q.pulls.Join(key, w.Model, w.pin, func(ctx context.Context, p *pull.Pull) (api.PullStage, error) {
		p.Say(api.PullStage{Stage: api.StageResolving, Node: l.node})
		return q.deliver(ctx, l, p, w)
	})
	if err != nil {
		return "", err
	}
	defer q.pulls.Leave(p)
	last, err := p.Follow(ctx, told)
	if err == nil {
		err = last.Err()
	}
	return last.ModelRef, err
}

// deliver brings a model to a hive: a file of this machine, or what the hub has.
func (q *queen) deliver(ctx context.Context, l *link, p *pull.Pull, w want) (api.PullStage, error) {
	path, isFile := w.Model.Path()
	switch {
	case isFile && l.bulk == nil:
		m, err := l.hive.HiveImport(ctx, path)
		return api.PullStage{Stage: api.StageComplete, ModelRef: w.Model, Node: l.node, LocalPath: m.Path, Done: m.SizeBytes, Total: m.SizeBytes}, err
	case isFile:
		return q.deliverFile(ctx, l, p, w, path)
	}
	if one, ok := among(w.Model, q.has(ctx, l)); ok { // it is there, and the hive looks whether it still is
		return q.download(ctx, l, p, api.DownloadRequest{ModelRef: one, Pin: w.pin})
	}
	return q.fetch(ctx, l, p, w)
}

// deliverFile copies a file of this machine, unless just that is there.
func (q *queen) deliverFile(ctx context.Context, l *link, p *pull.Pull, w want, path string) (api.PullStage, error) {
	c, err := q.own(ctx, w.Model, path)
	if err != nil {
		return api.PullStage{}, err
	}
	if m, ok := q.has(ctx, l)[w.Model]; ok && sameFiles(m, c) {
		return api.PullStage{Stage: api.StageComplete, ModelRef: w.Model, Node: l.node, Done: m.Size, Total: m.Size}, nil
	}
	return q.copyTo(ctx, l, p, w, c)
}

// fetch brings a model of the hub. Over the whole pool one hive at a time downloads
// it; those that wait copy it from there.
func (q *queen) fetch(ctx context.Context, l *link, p *pull.Pull, w want) (api.PullStage, error) {
	var failed []core.NodeName
	for {
		last, from, err := q.fetchOnce(ctx, l, p, w, failed)
		if err == nil || from == "" || !another(err) || ctx.Err() != nil {
			return last, err
		}
		q.d.Log.Warn("copy failed", "model", string(w.Model), "node", string(l.node), "from", string(from), "error", err.Error())
		failed = append(failed, from) // what is there of it stays
	}
}

// another tells whether a copy that failed may succeed from elsewhere.
func another(err error) bool {
	return slices.ContainsFunc([]error{core.DownloadFailed, core.DownloadTimeout, core.ModelNotFound}, func(is error) bool { return errors.Is(err, is) })
}

// fetchOnce copies from another node, whose name it returns, or else downloads.
func (q *queen) fetchOnce(ctx context.Context, l *link, p *pull.Pull, w want, failed []core.NodeName) (last api.PullStage, from core.NodeName, err error) {
	var turns held
	defer turns.release()
	if err := q.turn(ctx, &turns, l, p, w.Model); err != nil {
		return last, "", err
	}
	c, ok := q.source(ctx, l.node, w.Model, failed)
	if hub, isHub := w.Model.Hub(); !ok && isHub && hub.Tag == "" {
		r, err := l.hive.Resolve(ctx, api.ResolveRequest{ModelRef: w.Model, Use: q.useOf(w)})
		if err != nil {
			return last, "", err
		}
		w.Model = r.ModelRef
		p.Say(api.PullStage{Stage: api.StageResolving, ModelRef: r.ModelRef, Node: l.node, Note: r.Note})
		if err := q.turn(ctx, &turns, l, p, w.Model); err != nil {
			return last, "", err
		}
		c, ok = q.source(ctx, l.node, w.Model, failed)
	}
	if ok {
		turns.release() // many may copy at once
		last, err = q.copyTo(ctx, l, p, w, c)
		return last, c.From, err
	}
	last, err = q.download(ctx, l, p, api.DownloadRequest{ModelRef: w.Model, Pin: w.pin, Use: q.useOf(w)})
	return last, "", err
}

// held are turns that one caller has.
type held []func()

func (h *held) release() {
	for _, let := range slices.Backward(*h) {
		let()
	}
	*h = nil
}

// saying is how often a pull that waits says how far the other one is.
const saying = 500 * time.Millisecond

// turn waits for the turn of a model over the whole pool.
func (q *queen) turn(ctx context.Context, turns *held, l *link, p *pull.Pull, model core.ModelRef) error {
	done, err := q.fetching.takeTelling(ctx, model, saying, func() { p.Say(q.waiting(l, model)) })
	if err == nil {
		*turns = append(*turns, done)
	}
	return err
}

// waiting is the stage of a pull that waits for that of another node.
func (q *queen) waiting(l *link, model core.ModelRef) api.PullStage {
	s := api.PullStage{Stage: api.StageWaiting, Node: l.node}
	other, ok := q.pulls.Any(func(d delivery, o api.PullStage) bool {
		return d.link != l.id && (d.model == model || o.ModelRef == model) && o.Stage != api.StageWaiting && o.Stage != api.StageCopying
	})
	if !ok {
		return s
	}
	s.Node, s.From, s.Done, s.Total, s.BytesPerSecond, s.ETAMS = other.Node, other.From, other.Done, other.Total, other.BytesPerSecond, other.ETAMS
	return s
}

// useOf is what a hive must know of the worker that is to have the model.
func (q *queen) useOf(w want) api.Use {
	if w.keep {
		return api.Use{}
	}
	return api.Use{ContextLength: w.ContextLength, Slots: cmp.Or(w.slots, q.slots)}
}

// copyTo has a hive copy a model through us.
func (q *queen) copyTo(ctx context.Context, l *link, p *pull.Pull, w want, c api.Copy) (api.PullStage, error) {
	if l.bulk != nil {
		_, back, release, err := l.bulk.use(ctx)
		if err != nil {
			return api.PullStage{}, err
		}
		defer release()
		c.URL = back
	}
	return q.download(ctx, l, p, api.DownloadRequest{ModelRef: c.ModelRef, Copy: &c, Pin: w.pin, Use: q.useOf(w)})
}

// download has a hive fetch a model, and follows it to its last stage. When ctx ends,
// the hive is told that we do not want it any more.
func (q *queen) download(ctx context.Context, l *link, p *pull.Pull, r api.DownloadRequest) (api.PullStage, error) {
	r.LeaseID, r.Pin = l.lease, r.Pin || p.Pinned()
	d, err := l.hive.Download(ctx, r)
	if err != nil {
		return api.PullStage{}, err
	}
	defer q.leave(ctx, l, d.ID)
	for stage, err := range l.hive.DownloadProgress(ctx, d.ID) {
		switch {
		case ctx.Err() != nil:
			return api.PullStage{}, context.Cause(ctx)
		case err != nil:
			return api.PullStage{}, cutOff(l, err)
		case stage == nil:
			continue
		}
		if stage.Node = l.node; stage.Final() {
			q.noted(ctx, l, stage.ModelRef)
			return *stage, nil
		}
		p.Say(*stage)
	}
	return api.PullStage{}, cutOff(l, core.NodeUnreachable)
}

// cutOff is the fault of a hive that is not heard of any more while it downloads.
func cutOff(l *link, err error) error {
	if _, ok := errors.AsType[*core.Fault](err); ok || !errors.Is(err, core.NodeUnreachable) {
		return err
	}
	return &core.Fault{
		Kind: core.NodeUnreachable, What: fmt.Sprintf("the hive on %s says nothing of the download any more", l.node),
		Try: "ask again: what has arrived is kept; rbee logs --node " + string(l.node) + " may say why", Cause: err,
	}
}

// noted takes in that a hive has a model now: its report may come after the next one
// who looks for the model.
func (q *queen) noted(ctx context.Context, l *link, model core.ModelRef) {
	h, joined := q.hives.OfNode(l.node)
	if _, there := h.Models[model]; !joined || there {
		return
	}
	m, err := l.hive.HiveModel(ctx, model)
	if err != nil {
		return // the next report says what is true
	}
	_ = q.hives.Update(h.ID, func(h *registry.Hive) {
		h.Models = maps.Clone(h.Models) // others read the old one
		maps.Copy(h.Models, known([]api.Model{m}))
	})
}

// leave tells a hive that we do not want a download any more; it goes on for others.
func (q *queen) leave(ctx context.Context, l *link, id string) {
	const patience = 3 * time.Second
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if err := l.hive.CancelDownload(ctx, id); err != nil && l.alive() {
		q.d.Log.Debug("download not left", "node", string(l.node), "error", err.Error())
	}
}

// told is how a pull is told in the stream of an answer: once what is decided and
// begun, and then how far it is, each second.
func told(say narrator) func(api.PullStage) error {
	var before api.PullStage
	var last time.Time
	return func(s api.PullStage) error {
		if s.Note != before.Note && s.Note != "" {
			say.that(api.Note, s.Note)
		}
		moves := s.Stage == api.StageDownloading || s.Stage == api.StageCopying
		if moves && s.Stage != before.Stage {
			tellBegin(say, s)
		}
		if !s.Final() && (s.Stage != before.Stage || time.Since(last) >= time.Second) {
			last = time.Now()
			say.comment("%s", s.Comment())
		}
		before = s
		return nil
	}
}

func tellBegin(say narrator, s api.PullStage) {
	if s.Stage == api.StageCopying {
		say.that(api.Push, fmt.Sprintf("copying %s (%s) from %s to %s", s.ModelRef, megabytes(s.Total), s.From, s.Node))
		return
	}
	say.that(api.Download, fmt.Sprintf("downloading %s (%s) from %s to %s", s.ModelRef, megabytes(s.Total), s.From, s.Node))
}

// megabytes writes a size for people.
func megabytes(n int64) string {
	switch {
	case n >= 10e9:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	case n >= 10e6:
		return fmt.Sprintf("%d MB", n/1e6)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}
