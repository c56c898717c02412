package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"rbee/catalog/fetch"
	"rbee/core"
	"rbee/inference/gguf"
)

// Garbage is something that GC removes.
type Garbage struct {
	Path string        // a file; empty for a row
	Ref  core.ModelRef // of a row whose file has gone, or of a download
	Size int64
	Why  string
}

// oldEnough is for how long a file of ours without a row is left alone: it may just
// have been fetched.
const oldEnough = time.Hour

// forgotten is for how long a download that was broken off waits to go on.
const forgotten = 24 * time.Hour

// GC removes rows whose files have gone, files in the models directory that no row
// names, what was put aside as damaged, and downloads that were broken off a day ago,
// and returns it; a dry run only returns it. Files that are not named as ours are left
// alone, and so are those without a row while a process fetches.
func (c *Catalog) GC(ctx context.Context, dry bool) (found []Garbage, err error) {
	partials, busy, err := c.partials(dry)
	if err != nil {
		return nil, err
	}
	locks := held{}
	defer locks.release()
	err = c.tx(ctx, func(tx *sql.Tx) error {
		all, err := query(ctx, tx, "")
		if err != nil {
			return err
		}
		named := map[string]bool{}
		for _, m := range all {
			if _, err := m.changed(); !errors.Is(err, fs.ErrNotExist) {
				for _, f := range m.Files {
					named[f.Path] = true
				}
				continue
			}
			found = append(found, Garbage{Ref: m.Ref, Why: "its file has gone"})
			if !dry {
				err = c.forget(ctx, tx, m)
			}
			if err != nil {
				return err
			}
		}
		files, err := c.unnamed(named, busy, locks)
		found = append(found, files...)
		for _, g := range files {
			if !dry && err == nil {
				err = c.delete(g.Path)
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("catalog: collect garbage: %w", err)
	}
	return append(found, partials...), nil
}

// partials removes the downloads that nobody goes on with, and tells whether others are
// under way.
func (c *Catalog) partials(dry bool) (found []Garbage, busy bool, err error) {
	all, err := fetch.Leftovers(c.o.Models)
	if err != nil {
		return nil, false, err
	}
	before := time.Now().Add(-forgotten)
	for _, l := range all {
		busy = busy || l.Busy
	}
	if dry {
		all = slices.DeleteFunc(all, func(l fetch.Leftover) bool { return l.Busy || !l.Modified.Before(before) })
	} else if all, err = fetch.RemoveLeftovers(c.o.Models, before); err != nil {
		return nil, false, err
	}
	for _, l := range all {
		found = append(found, Garbage{Path: l.Path, Ref: l.Ref, Size: l.Bytes, Why: "its download was broken off"})
	}
	return found, busy, nil
}

// unnamed returns the files in the models directory that are ours, not named, and not
// used, such as those of an older revision by a worker that still runs.
func (c *Catalog) unnamed(named map[string]bool, busy bool, locks held) (found []Garbage, err error) {
	err = filepath.WalkDir(c.o.Models, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == c.o.Models {
			return ignoreGone(err)
		}
		if d.IsDir() && !c.isParts(path) {
			return fs.SkipDir
		}
		info, err := d.Info()
		if err != nil || d.IsDir() || named[path] {
			return ignoreGone(err)
		}
		switch {
		case !c.isOurs(path) || !locks.take(gguf.Parts(path)[0]): // of a model in parts the first is locked
		case strings.HasSuffix(path, wrongSuffix):
			found = append(found, Garbage{Path: path, Size: info.Size(), Why: "it was damaged"})
		case !busy && time.Since(info.ModTime()) > oldEnough:
			found = append(found, Garbage{Path: path, Size: info.Size(), Why: "no model is made of it"})
		}
		return nil
	})
	return found, err
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (c *Catalog) isParts(dir string) bool {
	key, ok := strings.CutSuffix(filepath.Base(dir), partsSuffix)
	return ok && CheckHash(key) == nil && filepath.Dir(dir) == c.o.Models
}

// isOurs tells whether a file has a name that we give.
func (c *Catalog) isOurs(path string) bool {
	name := strings.TrimSuffix(filepath.Base(path), wrongSuffix)
	if c.isParts(filepath.Dir(path)) {
		return strings.HasSuffix(name, ".gguf")
	}
	key, ok := strings.CutSuffix(name, ".gguf")
	return ok && CheckHash(key) == nil
}
