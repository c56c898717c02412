package hive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/machine"
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
	if available == 0 || need <= free {
		return nil
	}
	f := &core.Fault{
		Kind: core.InsufficientMemory, What: fmt.Sprintf("the model needs %d MiB of memory, %d MiB are free", need>>20, free>>20),
		Facts: []core.Fact{core.Number("required_bytes", need), core.Number("available_bytes", free)},
		Try:   "give a smaller --ctx, or a smaller model",
	}
	if most > 0 {
		f.Facts = append(f.Facts, core.Number("memory_max_bytes", most))
	}
	return f
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
