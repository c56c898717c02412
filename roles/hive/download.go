package hive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"rbee/catalog"
	"rbee/catalog/fetch"
	"rbee/core"
	"rbee/core/api"
	"rbee/core/pull"
	"rbee/core/serve"
)

// A wish is what makes two downloads the same.
type wish struct {
	ref  core.ModelRef
	use  api.Use
	from core.NodeName // of a copy
}

// postDownload is POST /v1/models/download.
func (h *hive) postDownload(c echo.Context) error {
	var r api.DownloadRequest
	if err := serve.Body(c, &r); err != nil {
		return err
	}
	p, err := h.download(r)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusAccepted, api.DownloadID{ID: p.ID, ModelRef: p.Now().ModelRef})
}

// download begins a download, or joins the one that is under way.
func (h *hive) download(r api.DownloadRequest) (*pull.Pull, error) {
	var err error
	if r.ModelRef, err = h.ref(r.ModelRef); err != nil {
		return nil, err
	}
	key := wish{ref: r.ModelRef, use: r.Use}
	if r.Copy != nil {
		if err := checkCopy(*r.Copy); err != nil {
			return nil, err
		}
		key.from = cmp.Or(r.Copy.From, core.Localhost)
	}
	return h.pulls.Join(key, r.ModelRef, r.Pin, func(ctx context.Context, p *pull.Pull) (api.PullStage, error) {
		m, err := h.bring(ctx, p, r)
		if err != nil {
			h.d.Log.Warn("download failed", "model", string(r.ModelRef), "code", string(core.KindOf(err)), "error", err.Error())
			return api.PullStage{}, err
		}
		return api.PullStage{Stage: api.StageComplete, ModelRef: m.Ref, LocalPath: m.Path, Done: m.Size, Total: m.Size}, nil
	})
}

// downloadProgress is GET /v1/models/download/progress?id=.
func (h *hive) downloadProgress(c echo.Context) error {
	p, err := h.pulls.Find(c.QueryParam("id"))
	if err != nil {
		return err
	}
	return serve.Stages(c, func(ctx context.Context, send func(api.PullStage) error) error {
		_, err := p.Follow(ctx, send)
		return err
	})
}

// deleteDownload is DELETE /v1/models/download/{id}: who began the download, or joined
// it, does not want it any more. When nobody does it ends, and what is there of it
// stays.
func (h *hive) deleteDownload(c echo.Context) error {
	if p, err := h.pulls.Find(c.Param("id")); err == nil {
		h.pulls.Leave(p)
	}
	return c.NoContent(http.StatusNoContent)
}

// bring finds a model on this machine, or fetches it.
func (h *hive) bring(ctx context.Context, p *pull.Pull, r api.DownloadRequest) (catalog.Model, error) {
	m, err := h.present(ctx, r)
	if errors.Is(err, core.ModelNotFound) {
		m, err = h.obtain(ctx, p, r)
	}
	if err == nil && !m.Pinned && (p.Pinned() || h.pinned(m.Ref)) {
		err = h.catalog.Pin(ctx, m.Ref, true)
	}
	return m, err
}

// present returns a model of the catalog: of a copy the very same.
func (h *hive) present(ctx context.Context, r api.DownloadRequest) (catalog.Model, error) {
	if hub, ok := r.ModelRef.Hub(); ok && r.Copy == nil {
		return h.catalog.FindHub(ctx, hub, core.Preferred)
	}
	m, err := h.catalog.Find(ctx, r.ModelRef)
	if err == nil && r.Copy != nil && !slices.EqualFunc(m.Files, r.Copy.Files, func(f catalog.File, g api.ModelFile) bool { return f.SHA256 == g.SHA256 }) {
		err = &core.Fault{Kind: core.ModelNotFound, What: fmt.Sprintf("model %s is another one here", r.ModelRef)}
	}
	return m, err
}

// obtain fetches a model: by the copy that is offered and nothing else, or from another
// node of the pool, or from the hub.
func (h *hive) obtain(ctx context.Context, p *pull.Pull, r api.DownloadRequest) (catalog.Model, error) {
	if r.Copy != nil {
		return h.copyFrom(ctx, p, r, *r.Copy)
	}
	hub, ok := r.ModelRef.Hub()
	if !ok {
		return catalog.Model{}, &core.Fault{Kind: core.ModelNotFound, What: fmt.Sprintf("model %s is not on this machine", r.ModelRef), Try: "rbee model import PATH"}
	}
	if c, ok := h.elsewhere(ctx, r); ok {
		m, err := h.copyFrom(ctx, p, r, c)
		if err == nil || ctx.Err() != nil || errors.Is(err, core.InsufficientDisk) {
			return m, err
		}
		h.d.Log.Warn("copy failed", "model", string(r.ModelRef), "from", string(c.From), "error", err.Error())
	}
	plan, err := h.plan(ctx, hub, r.Use, r.LeaseID)
	if err != nil {
		m, note, err := h.offline(ctx, hub, err)
		if err == nil {
			p.Say(api.PullStage{Stage: api.StageResolving, ModelRef: m.Ref, Note: note})
		}
		return m, err
	}
	p.Say(api.PullStage{Stage: api.StageResolving, ModelRef: plan.Ref, Note: plan.Note, From: plan.From, Total: sizeOf(plan)})
	if m, ok := h.inPlace(ctx, hub, plan); ok {
		return m, nil
	}
	return h.fetch(ctx, p, plan, catalog.Fetched)
}

// fetch brings the files of a plan here and registers them.
func (h *hive) fetch(ctx context.Context, p *pull.Pull, plan fetch.Plan, source catalog.Source) (catalog.Model, error) {
	say := teller(p, plan, source)
	say(fetch.Progress{Stage: api.StageDownloading, Total: sizeOf(plan)})
	results, err := h.fetchInto(ctx, plan, say)
	if err != nil {
		return catalog.Model{}, err
	}
	a := catalog.Addition{Ref: plan.Ref, Revision: plan.Revision, Source: source, Pinned: p.Pinned()}
	for _, r := range results {
		a.Files = append(a.Files, catalog.File{Name: r.Name, Path: r.Path, Size: r.Size, SHA256: r.SHA256})
	}
	defer h.report.changed()
	m, err := h.catalog.AddFetched(ctx, a)
	if errors.Is(err, core.Invalid) {
		return m, &core.Fault{
			Kind: core.Unsupported, What: fmt.Sprintf("%s came as %s has it, but is no whole GGUF file", plan.Ref, plan.From),
			Try: "choose another quantization, or another repository", Cause: err,
		}
	}
	if err == nil {
		h.d.Log.Info("model fetched", "model", string(m.Ref), "bytes", m.Size, "from", plan.From)
	}
	return m, err
}

// sizeOf is the size of all files of a plan; 0: not known.
func sizeOf(plan fetch.Plan) (n int64) {
	for _, f := range plan.Files {
		if f.Size < 0 {
			return 0
		}
		n += f.Size
	}
	return n
}

// telling is how often a download says how far it is.
const telling = 200 * time.Millisecond

// teller says the progress of a fetch, not too often.
func teller(p *pull.Pull, plan fetch.Plan, source catalog.Source) func(fetch.Progress) {
	var stage string
	var last time.Time
	return func(g fetch.Progress) {
		if g.Stage == stage && time.Since(last) < telling {
			return
		}
		stage, last = g.Stage, time.Now()
		s := api.PullStage{Stage: g.Stage, ModelRef: plan.Ref, From: plan.From, Done: g.Done, Total: g.Total, BytesPerSecond: g.Rate}
		if g.Stage == api.StageDownloading && source == catalog.Copied {
			s.Stage = api.StageCopying
		}
		if g.Rate > 0 && g.Total > g.Done {
			s.ETAMS = (g.Total - g.Done) * 1000 / g.Rate
		}
		p.Say(s)
	}
}
