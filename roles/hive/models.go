package hive

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"rbee/catalog"
	"rbee/core"
	"rbee/core/api"
	"rbee/core/serve"
)

// ref is the reference that a name stands for.
func (h *hive) ref(name core.ModelRef) (core.ModelRef, error) { return h.names.Resolve(name) }

func (h *hive) wire(m catalog.Model) api.Model {
	out := api.Model{
		Ref: m.Ref, Path: m.Path, SizeBytes: m.Size, SHA256: m.SHA256,
		Architecture: m.Architecture, Quantization: m.Quantization, Parameters: m.Parameters,
		Source: string(m.Source), Revision: m.Revision, Pinned: m.Pinned || h.pinned(m.Ref), InUse: h.inUse(m.Ref) != nil,
		Uses: m.Uses, UsedAt: m.UsedAt, AddedAt: m.AddedAt,
	}
	for _, f := range m.Files {
		out.Files = append(out.Files, api.ModelFile{Name: f.Name, SizeBytes: f.Size, SHA256: f.SHA256, Path: f.Path})
	}
	return out
}

// inUse returns a worker that has a model, nil when there is none.
func (h *hive) inUse(ref core.ModelRef) *worker {
	for _, w := range h.nursery.all("") {
		if state, _ := w.get(); w.ref == ref && state != api.Failed {
			return w
		}
	}
	return nil
}

func (h *hive) listModels(c echo.Context) error {
	all, err := h.models(c.Request().Context())
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, api.Models{Models: all})
}

// embedded is the model inside the program.
var embedded = api.Model{Ref: core.Embedded, Architecture: "llama", Quantization: "Q8_0"}

// models are the embedded one and those of the catalog.
func (h *hive) models(ctx context.Context) ([]api.Model, error) {
	all, err := h.catalog.List(ctx)
	out := []api.Model{embedded}
	for _, m := range all {
		out = append(out, h.wire(m))
	}
	return out, err
}

func (h *hive) importModel(c echo.Context) error {
	var r api.ImportRequest
	if err := serve.Body(c, &r); err != nil {
		return err
	}
	ctx, importing := c.Request().Context(), h.importFile
	if r.From != "" {
		importing = func(ctx context.Context, path string) (catalog.Model, error) { return h.importFound(ctx, path, r.From) }
	}
	m, err := importing(ctx, r.Path)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, h.wire(m))
}

// removeModel is DELETE /v1/models/{ref}. What a worker uses stays.
func (h *hive) removeModel(c echo.Context) error {
	ref, err := h.refOf(c)
	switch {
	case err != nil:
		return err
	case ref == core.Embedded:
		return &core.Fault{Kind: core.Invalid, What: "the embedded model is in the program itself", Try: "rbee model list"}
	}
	if w := h.inUse(ref); w != nil {
		return &core.Fault{Kind: core.WorkerBusy, What: fmt.Sprintf("model %s is in use by worker %s", ref, w.id), Try: "rbee unload " + string(ref)}
	}
	defer h.report.changed()
	if err := h.catalog.Remove(c.Request().Context(), ref); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// showModel is GET /v1/models/{ref}.
func (h *hive) showModel(c echo.Context) error {
	ref, err := h.refOf(c)
	if err != nil {
		return err
	}
	if ref == core.Embedded {
		return c.JSON(http.StatusOK, embedded)
	}
	m, err := h.present(c.Request().Context(), api.DownloadRequest{ModelRef: ref})
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, h.wire(m))
}

// refOf is the model of a request's path.
func (h *hive) refOf(c echo.Context) (core.ModelRef, error) {
	name, err := serve.PathParam(c, "ref")
	if err != nil {
		return "", err
	}
	return h.ref(core.ModelRef(name))
}

// collectModels is POST /v1/models/gc.
func (h *hive) collectModels(c echo.Context) error {
	var r api.CollectRequest
	if _, err := serve.OptionalBody(c, &r); err != nil {
		return err
	}
	defer h.report.changed()
	found, err := h.catalog.GC(c.Request().Context(), r.DryRun)
	if err != nil {
		return err
	}
	out := api.Collection{Removed: []api.Collected{}}
	for _, g := range found {
		out.Removed = append(out.Removed, api.Collected{Path: cmp.Or(g.Path, string(g.Ref)), SizeBytes: g.Size, Why: g.Why})
	}
	return c.JSON(http.StatusOK, out)
}

// modelNeeds is GET /v1/models/{ref}/needs?context=&slots=.
func (h *hive) modelNeeds(c echo.Context) error {
	ref, err := h.refOf(c)
	if err != nil {
		return err
	}
	m, err := h.present(c.Request().Context(), api.DownloadRequest{ModelRef: ref})
	if err != nil {
		return err
	}
	number := func(name string, fallback int) int {
		if n, err := strconv.Atoi(c.QueryParam(name)); err == nil && n > 0 {
			return n
		}
		return fallback
	}
	n, err := needs(m.Path, number("context", 0), number("slots", 1))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, api.Needs{WeightsBytes: n.Weights, KVBytes: n.KV, ComputeBytes: n.Compute, TotalBytes: n.Total()})
}
