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

	"rbee/core"
)

// Remove forgets a model, and deletes its files when they are our own copy and
// belong to no other model. What is in place stays. A model that a process uses is
// an error; one that is not there is none.
func (c *Catalog) Remove(ctx context.Context, ref core.ModelRef) error {
	var drop []string
	var locks held
	defer func() { locks.release() }()
	err := c.tx(ctx, func(tx *sql.Tx) error {
		m, err := one(ctx, tx, ref)
		if errors.Is(err, core.ModelNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if !locks.take(m.Path) {
			return inUse(ref)
		}
		drop, err = c.drop(ctx, tx, m)
		return err
	})
	if err != nil {
		return fmt.Errorf("catalog: remove %s: %w", ref, err)
	}
	c.delete(drop)
	return nil
}

func inUse(ref core.ModelRef) error {
	return &core.Fault{Kind: core.WorkerBusy, What: fmt.Sprintf("model %s is in use", ref), Try: "rbee unload it first"}
}

// forget removes the rows of a model of which a file has gone. The files that are
// still there stay, for the next download.
func (c *Catalog) forget(ctx context.Context, m Model) error {
	err := c.tx(ctx, func(tx *sql.Tx) error {
		_, err := c.drop(ctx, tx, m)
		return err
	})
	if err != nil {
		return fmt.Errorf("catalog: forget %s: %w", m.Ref, err)
	}
	return nil
}

// drop removes the rows of a model and what its sidecar says of it, and returns its
// own files that nothing names any more. They are deleted once the transaction is
// over: a crash in between leaves files that nobody names, which GC finds.
func (c *Catalog) drop(ctx context.Context, tx *sql.Tx, m Model) ([]string, error) {
	if _, err := tx.ExecContext(ctx, "DELETE FROM models WHERE ref = ?", m.Ref); err != nil {
		return nil, err
	}
	if !m.Own() {
		return nil, nil
	}
	if err := c.describe(ctx, tx, m.key()); err != nil {
		return nil, err
	}
	return unnamed(ctx, tx, m)
}

// unnamed returns the files of our own copy that no row names.
func unnamed(ctx context.Context, tx *sql.Tx, m Model) (paths []string, err error) {
	for _, f := range m.Files {
		var n int
		if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM files WHERE path = ?", f.Path).Scan(&n); err != nil {
			return nil, err
		}
		if n == 0 {
			paths = append(paths, f.Path)
		}
	}
	return paths, nil
}

// delete deletes files of ours, and the directory of parts when it is empty then.
// What cannot be deleted is found by GC.
func (c *Catalog) delete(paths []string) {
	for _, path := range paths {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			c.o.Log.Warn("a file of a removed model stays", "path", path, "error", err.Error())
		}
		if dir := filepath.Dir(path); dir != c.o.Models && strings.HasSuffix(dir, partsSuffix) {
			_ = os.Remove(dir) // only when it is empty
		}
	}
}
