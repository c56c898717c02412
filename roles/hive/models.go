package hive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"rbee/catalog"
	"rbee/core"
	"rbee/core/api"
	"rbee/core/machine"
	"rbee/core/serve"
	"rbee/inference/gguf"
)

// provisioned is a model that a worker can load.
type provisioned struct {
	ref    core.ModelRef
	path   string // or "embedded"
	sha256 string // empty: not known yet
	needs  int64  // bytes of memory; 0: not known
}

// provision finds the model of a spawn and checks that it fits into memory.
func (h *hive) provision(ctx context.Context, r api.SpawnRequest) (provisioned, error) {
	ref, err := core.ParseModelRef(string(r.ModelRef))
	if err != nil || ref == core.Embedded {
		return provisioned{ref: ref, path: string(core.Embedded)}, err
	}
	if path, ok := ref.Path(); ok && h.inDirs(path) {
		if _, err := h.importFile(ctx, path); err != nil {
			return provisioned{}, err
		}
	}
	m, err := h.catalog.Find(ctx, ref)
	if err != nil {
		return provisioned{}, err
	}
	n, err := needs(m.Path, r.ContextLength, cmp.Or(r.Slots, defaultSlots))
	if err != nil && !errors.Is(err, errUnknown) {
		return provisioned{}, err
	}
	return provisioned{ref, m.Path, m.SHA256, n.Total()}, h.catalog.Used(ctx, ref)
}

// inDirs tells whether a file lies in one of the model directories.
func (h *hive) inDirs(path string) bool {
	for _, dir := range h.dirs {
		if abs, err := filepath.Abs(dir); err == nil && strings.HasPrefix(path, abs+string(filepath.Separator)) {
			return true
		}
	}
	return false
}

// room compares what a model needs with the memory that is free and promised to
// nobody, and with what workers may take at most; most is 0 for all there is.
func room(need int64, others load, most int64) error {
	available := machine.ReadMemory().Available
	free := max(available-others.promised, 0)
	if most > 0 && (available == 0 || most-others.taken < free) {
		available, free = most, max(most-others.taken, 0)
	}
	if available > 0 && need > free {
		return &core.Fault{
			Kind: core.InsufficientMemory, What: fmt.Sprintf("the model needs %d MiB of memory, %d MiB are free", need>>20, free>>20),
			Facts: []core.Fact{core.Number("required_bytes", need), core.Number("available_bytes", free)},
			Try:   "give a smaller --ctx, or a smaller model",
		}
	}
	return nil
}

// defaultContext is the context of a worker that nobody gave one.
const defaultContext = 8192

// defaultSlots are the answers at once of a worker whose caller did not say.
const defaultSlots = 4

// errUnknown says that a model's header does not tell what it needs: it is of an
// architecture of which only the engine can say whether it is supported.
var errUnknown = &core.Fault{Kind: core.Unsupported, What: "the file does not say what the model needs", Try: "rbee worker inspect shows what the file says"}

func needs(path string, context, slots int) (gguf.Needs, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return gguf.Needs{}, &core.Fault{Kind: core.Invalid, What: err.Error(), Cause: err}
	}
	defer f.Close()
	if context <= 0 {
		context = defaultContext
		if n, ok := f.Uint(f.Architecture() + ".context_length"); ok && n < defaultContext {
			context = int(n)
		}
	}
	n, err := f.Needs(context, slots)
	if err != nil {
		return gguf.Needs{}, errUnknown
	}
	return n, nil
}

func wire(m catalog.Model) api.Model {
	return api.Model{
		Ref: m.Ref, Path: m.Path, SizeBytes: m.Size, SHA256: m.SHA256,
		Architecture: m.Architecture, Quantization: m.Quantization, Parameters: m.Parameters,
	}
}

func (h *hive) listModels(c echo.Context) error {
	all, err := h.models(c.Request().Context())
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, api.Models{Models: all})
}

// models are the embedded one and those of the catalog.
func (h *hive) models(ctx context.Context) ([]api.Model, error) {
	all, err := h.catalog.List(ctx)
	out := []api.Model{{Ref: core.Embedded, Architecture: "llama", Quantization: "Q8_0"}}
	for _, m := range all {
		out = append(out, wire(m))
	}
	return out, err
}

func (h *hive) importModel(c echo.Context) error {
	var r api.ImportRequest
	if err := serve.Body(c, &r); err != nil {
		return err
	}
	m, err := h.importFile(c.Request().Context(), r.Path)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, wire(m))
}

func (h *hive) removeModel(c echo.Context) error {
	ref, err := refOf(c)
	if err != nil {
		return err
	}
	for _, w := range h.nursery.all("") {
		if state, _ := w.get(); w.ref == ref && state != api.Failed {
			return &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("model %s is in use by worker %s", ref, w.id)}
		}
	}
	defer h.report.changed()
	if err := h.catalog.Remove(c.Request().Context(), ref); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// refOf is the model of a request's path. The router leaves a path with slashes in its
// parts escaped as it came.
func refOf(c echo.Context) (core.ModelRef, error) {
	ref := c.Param("ref")
	if c.Request().URL.RawPath != "" {
		var err error
		if ref, err = url.PathUnescape(ref); err != nil {
			return "", &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("model %.80q in the path: %v", c.Param("ref"), err)}
		}
	}
	return core.ParseModelRef(ref)
}

// modelNeeds is GET /v1/models/{ref}/needs?context=&slots=.
func (h *hive) modelNeeds(c echo.Context) error {
	ref, err := refOf(c)
	if err != nil {
		return err
	}
	m, err := h.catalog.Find(c.Request().Context(), ref)
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

// getBlob is GET /v1/blobs/{sha256}, with ranges.
func (h *hive) getBlob(c echo.Context) error {
	blob, err := h.catalog.ByHash(c.Request().Context(), c.Param("hash"))
	if err != nil {
		return err
	}
	f, err := os.Open(blob.Path)
	if err != nil {
		return &core.Fault{Kind: core.ModelNotFound, What: "the file of that hash is gone", Cause: err}
	}
	defer f.Close()
	c.Response().Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(c.Response(), c.Request(), "", blob.Modified, f)
	return nil
}

// putBlob is PUT /v1/blobs/{sha256}?ref=: a model of another machine is copied here.
func (h *hive) putBlob(c echo.Context) error {
	ref, err := core.ParseModelRef(c.QueryParam("ref"))
	if err != nil {
		return err
	}
	if _, ok := ref.Path(); !ok {
		return &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("ref %s: want file:PATH", ref)}
	}
	r := c.Request()
	size := r.ContentLength
	if n, err := strconv.ParseInt(r.Header.Get("X-Size"), 10, 64); err == nil && size < 0 {
		size = n
	}
	defer h.report.changed()
	m, err := h.catalog.PutBlob(r.Context(), c.Param("hash"), ref, size, r.Body)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusCreated, wire(m))
}
