package hive

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"

	"github.com/labstack/echo/v4"

	"rbee/catalog"
	"rbee/catalog/stores"
	"rbee/core"
	"rbee/core/api"
)

// foundModels is GET /v1/models/found?from=: what other programs have on this machine.
func (h *hive) foundModels(c echo.Context) error {
	list, err := found(c.QueryParam("from"))
	if err != nil {
		return err
	}
	out := api.Found{Models: []api.FoundModel{}}
	for _, f := range list {
		m := api.FoundModel{From: string(f.Source), Name: f.Name, Ref: f.Ref, SizeBytes: f.Size()}
		if len(f.Files) > 0 {
			m.Path = f.Files[0].Path
		}
		if f.Err != nil {
			m.Error = core.FaultOf(f.Err).What
		}
		out.Models = append(out.Models, m)
	}
	return c.JSON(http.StatusOK, out)
}

// found are the models of one program, or of all.
func found(from string) ([]stores.Found, error) {
	sources := []catalog.Source{catalog.HuggingFace, catalog.Ollama, catalog.LMStudio}
	if from != "all" && !slices.Contains(sources, catalog.Source(from)) {
		return nil, &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("models from %.80q: want huggingface, ollama, lmstudio or all", from), Try: "rbee model import --from all --list"}
	}
	list := stores.Find(os.Getenv)
	return slices.DeleteFunc(list, func(f stores.Found) bool { return from != "all" && string(f.Source) != from }), nil
}

// importFound registers a model of another program, under its name on the hub where
// that is certain.
func (h *hive) importFound(ctx context.Context, path, from string) (catalog.Model, error) {
	list, err := found(from)
	if err != nil {
		return catalog.Model{}, err
	}
	i := slices.IndexFunc(list, func(f stores.Found) bool { return len(f.Files) > 0 && f.Files[0].Path == path })
	switch {
	case i < 0:
		return catalog.Model{}, &core.Fault{Kind: core.ModelNotFound, What: fmt.Sprintf("%s is no model of %s", path, from), Try: "rbee model import --from all --list"}
	case list[i].Err != nil:
		return catalog.Model{}, list[i].Err
	}
	defer h.report.changed()
	m, err := h.catalog.AddInPlace(ctx, list[i].Addition())
	if err == nil && m.SHA256 == "" {
		h.hashes.add(m)
	}
	return m, err
}
