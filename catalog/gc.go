package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"rbee/core"
)

// Garbage is something that GC removes.
type Garbage struct {
	Path string        // a file; empty for a row
	Ref  core.ModelRef // of a row whose file has gone
	Size int64
	Why  string
}

// oldEnough is for how long a file of ours without a row is left alone: it may just
// have been fetched.
const oldEnough = time.Hour

// GC removes rows whose files have gone, files in the models directory that no row
// names, and what was put aside as damaged, and returns it; a dry run only returns
// it. Files that are not named as ours are left alone, and so is everything without a
// row while a process fetches. Unfinished downloads are not its business.
func (c *Catalog) GC(ctx context.Context, dry bool) (found []Garbage, err error) {
	err = c.tx(ctx, func(tx *sql.Tx) error {
		all, err := query(ctx, tx, "")
		if err != nil {
			return err
		}
		named := map[string]bool{}
		for _, m := range all {
			if _, err := m.changed(); errors.Is(err, fs.ErrNotExist) {
				found = append(found, Garbage{Ref: m.Ref, Why: "its file has gone"})
				if dry {
					continue
				}
				if err := c.forget(ctx, tx, m); err != nil {
					return err
				}
				continue
			}
			for _, f := range m.Files {
				named[f.Path] = true
			}
		}
		files, err := c.unnamed(named)
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
	return found, nil
}

// unnamed returns the files in the models directory that are ours and not named.
func (c *Catalog) unnamed(named map[string]bool) (found []Garbage, err error) {
	busy := c.fetching()
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
		aside := strings.HasSuffix(path, wrongSuffix)
		switch ours := c.isOurs(path); {
		case !ours:
		case aside:
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

// fetching tells whether a process of this machine fetches a model: it holds the lock
// of what is under way.
func (c *Catalog) fetching() bool {
	partials, _ := filepath.Glob(filepath.Join(c.o.Models, "*.partial"))
	for _, path := range partials {
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return true
		}
	}
	return false
}
