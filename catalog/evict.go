package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"rbee/core"
)

// Room is what Evict is to make.
type Room struct {
	Most int64 // bytes that our own copies may take together with what comes; 0: no limit
	Come int64 // bytes that are about to come
	Free int64 // bytes to free in any case, for a disk that is full
	Keep func(core.ModelRef) bool
}

// Evict removes our own copies, the longest unused first, until there is room, and
// returns what it removed. It never removes what is pinned, what Keep (which may be
// nil) names, what a process uses, or what is in place. When all that it may remove
// is not enough, it removes nothing, and that is an error.
func (c *Catalog) Evict(ctx context.Context, r Room) (removed []Model, err error) {
	locks := held{}
	defer locks.release()
	err = c.tx(ctx, func(tx *sql.Tx) error {
		all, err := query(ctx, tx, "")
		if err != nil {
			return err
		}
		blobs := blobsOf(all)
		if removed, err = choose(blobs, r.need(blobs), r.Keep, locks); err != nil {
			return err
		}
		for _, m := range removed {
			if err := c.remove(ctx, tx, m); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("catalog: make room: %w", err)
	}
	return removed, nil
}

// A blob is our own copy, with all models that are made of it.
type blob struct {
	models []Model
	size   int64
	last   time.Time // of its use, else of its coming
	stays  bool      // pinned, or somebody imported it
}

// blobsOf returns our own copies, the longest unused first.
func blobsOf(all []Model) (blobs []*blob) {
	by := map[string]*blob{}
	for _, m := range all {
		b := by[m.Path]
		if b == nil {
			b = &blob{size: m.Size}
			by[m.Path] = b
		}
		b.models = append(b.models, m)
		b.stays = b.stays || m.Pinned || !m.Own()
		for _, t := range []time.Time{m.AddedAt, m.UsedAt} {
			if t.After(b.last) {
				b.last = t
			}
		}
	}
	for _, m := range all {
		if b := by[m.Path]; m.Own() && b.models[len(b.models)-1].Ref == m.Ref {
			blobs = append(blobs, b)
		}
	}
	slices.SortStableFunc(blobs, func(a, b *blob) int { return a.last.Compare(b.last) })
	return blobs
}

// need is how many bytes must go.
func (r Room) need(blobs []*blob) int64 {
	if r.Most <= 0 {
		return r.Free
	}
	var total int64
	for _, b := range blobs {
		total += b.size
	}
	return max(r.Free, total+r.Come-r.Most)
}

// choose takes as many copies as are needed, and locks them.
func choose(blobs []*blob, need int64, keep func(core.ModelRef) bool, locks held) (chosen []Model, err error) {
	var freed int64
	kept := func(m Model) bool { return keep != nil && keep(m.Ref) }
	for _, b := range blobs {
		if freed >= need {
			break
		}
		if b.stays || slices.ContainsFunc(b.models, kept) || !locks.take(b.models[0].Path) {
			continue
		}
		freed += b.size
		chosen = append(chosen, b.models...)
	}
	if freed < need {
		return nil, &core.Fault{
			Kind: core.InsufficientDisk, What: fmt.Sprintf("models take %d bytes too much, and only %d may be removed", need, freed),
			Facts: []core.Fact{core.Number("required_bytes", need), core.Number("available_bytes", freed)},
			Try:   "raise [models] max_bytes, unpin or unload a model, or remove one: rbee model rm",
		}
	}
	return chosen, nil
}
