package hive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

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
	ref     core.ModelRef
	path    string // or "embedded"
	sha256  string // empty: not known yet
	needs   int64  // bytes of memory; 0: not known
	release func() // lets the files be removed again
}

// provision finds the model of a spawn, or fetches it, and looks what memory it
// needs. Until it is released no process removes its files.
func (h *hive) provision(ctx context.Context, r api.SpawnRequest) (provisioned, error) {
	ref, err := h.ref(r.ModelRef)
	if err != nil || ref == core.Embedded {
		return provisioned{ref: ref, path: string(core.Embedded), release: func() {}}, err
	}
	slots := cmp.Or(r.Slots, defaultSlots)
	if path, ok := ref.Path(); !ok {
		ref, err = h.fetched(ctx, ref, r, slots)
	} else if h.inDirs(path) {
		_, err = h.importFile(ctx, path)
	}
	if err != nil {
		return provisioned{}, err
	}
	m, release, err := h.catalog.Use(ctx, ref)
	if err != nil {
		return provisioned{}, err
	}
	n, err := needs(m.Path, r.ContextLength, slots)
	if err != nil && !errors.Is(err, errUnknown) {
		release()
		return provisioned{}, err
	}
	return provisioned{ref, m.Path, m.SHA256, n.Total(), release}, nil
}

// fetched returns the model of a hub that a reference stands for here, and fetches it
// if need be.
func (h *hive) fetched(ctx context.Context, ref core.ModelRef, r api.SpawnRequest, slots int) (core.ModelRef, error) {
	m, err := h.present(ctx, api.DownloadRequest{ModelRef: ref})
	if !errors.Is(err, core.ModelNotFound) {
		return m.Ref, err
	}
	p, err := h.download(api.DownloadRequest{ModelRef: ref, Use: api.Use{ContextLength: r.ContextLength, Slots: slots}, LeaseID: r.LeaseID})
	if err != nil {
		return "", err
	}
	defer h.pulls.Leave(p)
	last, err := p.Follow(ctx, func(api.PullStage) error { return nil })
	return last.ModelRef, cmp.Or(err, last.Err())
}

// ref is the reference that a name stands for.
func (h *hive) ref(name core.ModelRef) (core.ModelRef, error) { return h.names.Resolve(name) }

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

// verifyModels is POST /v1/models/verify: the files of one model, or of all, are read
// and hashed anew.
func (h *hive) verifyModels(c echo.Context) error {
	var r api.VerifyRequest
	if _, err := serve.OptionalBody(c, &r); err != nil {
		return err
	}
	all, err := h.catalog.List(c.Request().Context())
	if err != nil {
		return err
	}
	if r.Model != "" {
		if all, err = h.only(all, r.Model); err != nil {
			return err
		}
	}
	defer h.report.changed()
	return serve.Stages(c, func(ctx context.Context, send func(api.VerifyStage) error) error {
		for _, m := range all {
			if err := h.verify(ctx, m, send); err != nil {
				return err
			}
		}
		return nil
	})
}

// only is the model of a list that a name stands for.
func (h *hive) only(all []catalog.Model, name core.ModelRef) ([]catalog.Model, error) {
	ref, err := h.ref(name)
	if err != nil {
		return nil, err
	}
	at := func(one core.ModelRef) int {
		return slices.IndexFunc(all, func(m catalog.Model) bool { return m.Ref == one })
	}
	one, ok := ref.Among(func(one core.ModelRef) bool { return at(one) >= 0 })
	if !ok {
		return nil, &core.Fault{Kind: core.ModelNotFound, What: fmt.Sprintf("model %s is not on this machine", ref), Try: "rbee model list"}
	}
	return all[at(one) : at(one)+1], nil
}

// verify sends the stages of one model.
func (h *hive) verify(ctx context.Context, m catalog.Model, send func(api.VerifyStage) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := api.VerifyStage{Stage: api.VerifyReading, ModelRef: m.Ref, Total: m.Size}
	var last time.Time
	verdict, err := h.catalog.Verify(ctx, m.Ref, func(done, total int64) {
		if s.Done, s.Total = done, total; time.Since(last) >= telling {
			last = time.Now()
			if err := send(s); err != nil {
				cancel(err) // nobody reads
			}
		}
	})
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		s.Stage, s.Error = api.VerifyFailed, core.Public(err).Error()
	case len(verdict.Wrong) > 0:
		s.Stage, s.Error = api.VerifyDamaged, damage(verdict.Wrong[0])
	default:
		s.Stage = api.VerifyGood
	}
	return send(s)
}

// damage says what is wrong with a file.
func damage(w catalog.Wrong) string {
	what := fmt.Sprintf("%s has the hash %s, want %s", w.File.Path, w.Got, cmp.Or(w.File.Promised, w.File.SHA256))
	if w.Aside != "" {
		what += "; it was put aside as " + w.Aside
	}
	return what
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
	return c.JSON(http.StatusCreated, h.wire(m))
}
