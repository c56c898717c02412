package hive

import (
	"context"
	"errors"
	"strconv"

	"rbee/catalog"
	"rbee/catalog/fetch"
	"rbee/core"
)

// fetchInto fetches the files of a plan, for which models that nobody has used for
// long go when the cap or the disk demands it.
func (h *hive) fetchInto(ctx context.Context, plan fetch.Plan, say func(fetch.Progress)) ([]fetch.Result, error) {
	if most := h.d.Settings.Models.MaxBytes; most > 0 {
		if err := h.evict(ctx, catalog.Room{Most: most, Come: sizeOf(plan), Keep: h.pinned}); err != nil {
			return nil, err
		}
	}
	for {
		results, err := h.fetcher.Fetch(ctx, plan, say)
		if !errors.Is(err, core.InsufficientDisk) {
			return results, err
		}
		missing := fact(err, "required_bytes") - fact(err, "available_bytes")
		if missing <= 0 || h.evict(ctx, catalog.Room{Free: missing, Keep: h.pinned}) != nil {
			return nil, err
		}
	}
}

// evict removes models to make room, and says which.
func (h *hive) evict(ctx context.Context, r catalog.Room) error {
	removed, err := h.catalog.Evict(ctx, r)
	for _, m := range removed {
		h.d.Log.Info("model made room for another", "model", string(m.Ref), "bytes", m.Size, "unused_since", m.UsedAt)
	}
	if len(removed) > 0 {
		h.report.changed()
	}
	return err
}

// pinned tells whether the config file wants a model to stay.
func (h *hive) pinned(ref core.ModelRef) bool {
	for _, name := range h.d.Settings.Models.Pinned {
		pin, err := h.ref(core.ModelRef(name))
		if err != nil {
			continue // it was said when the hive came up
		}
		if _, ok := pin.Among(func(one core.ModelRef) bool { return one == ref }); ok {
			return true
		}
	}
	return false
}

// checkPins says which names of the config file are no models.
func (h *hive) checkPins() {
	for _, name := range h.d.Settings.Models.Pinned {
		if _, err := h.ref(core.ModelRef(name)); err != nil {
			h.d.Log.Warn("config: a pinned model is not known", "model", name, "error", err.Error())
		}
	}
}

// fact is a number of a fault; 0: it does not say.
func fact(err error, name string) (n int64) {
	for _, f := range core.FaultOf(err).Facts {
		if f.Name == name {
			n, _ = strconv.ParseInt(f.Value, 10, 64)
		}
	}
	return n
}
