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

// Remove forgets a model, and deletes its files when they are our own copy and no
// other model is made of them. What is in place stays. A model that a process uses is
// an error; one that is not there is none.
func (c *Catalog) Remove(ctx context.Context, ref core.ModelRef) error {
	err := c.removeOnce(ctx, ref)
	if errors.Is(err, core.InsufficientDisk) && c.makeRoom(ctx, ref) {
		err = c.removeOnce(ctx, ref)
	}
	if err != nil {
		return fmt.Errorf("catalog: remove %s: %w", ref, err)
	}
	return nil
}

// makeRoom deletes the files of a model that is to be removed from a disk which is so
// full that the catalog cannot even write that. A crash after it leaves rows whose
// files have gone, which Find removes.
func (c *Catalog) makeRoom(ctx context.Context, ref core.ModelRef) bool {
	m, err := one(ctx, c.db, ref)
	if err != nil || !m.Own() {
		return false
	}
	locks := held{}
	defer locks.release()
	others, err := query(ctx, c.db, "WHERE m.ref IN (SELECT ref FROM files WHERE path = ? AND ref <> ?)", m.Path, ref)
	if err != nil || len(others) > 0 || !locks.take(m.Path) {
		return false
	}
	for _, f := range m.Files {
		if err := c.delete(f.Path); err != nil {
			return false
		}
	}
	return true
}

func (c *Catalog) removeOnce(ctx context.Context, ref core.ModelRef) error {
	locks := held{}
	defer locks.release()
	return c.tx(ctx, func(tx *sql.Tx) error {
		m, err := one(ctx, tx, ref)
		if errors.Is(err, core.ModelNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if !locks.take(m.Path) {
			return &core.Fault{Kind: core.WorkerBusy, What: fmt.Sprintf("model %s is in use", ref), Try: "rbee unload " + string(ref)}
		}
		return c.remove(ctx, tx, m)
	})
}

// gone forgets a model of which a file has gone. The files that are still there stay,
// for the next download.
func (c *Catalog) gone(ctx context.Context, m Model) error {
	err := c.tx(ctx, func(tx *sql.Tx) error {
		now, err := one(ctx, tx, m.Ref)
		if errors.Is(err, core.ModelNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := now.changed(); !errors.Is(err, fs.ErrNotExist) {
			return nil // it was fetched again meanwhile
		}
		return c.forget(ctx, tx, now)
	})
	if err != nil {
		return fmt.Errorf("catalog: forget %s: %w", m.Ref, err)
	}
	return nil
}

// forget removes the rows of a model, and what its sidecar says of it.
func (c *Catalog) forget(ctx context.Context, tx *sql.Tx, m Model) error {
	if _, err := tx.ExecContext(ctx, "DELETE FROM models WHERE ref = ?", m.Ref); err != nil {
		return err
	}
	return c.describe(ctx, tx, m.key())
}

// remove forgets a model and deletes what is left of it inside the transaction, so
// that nobody can register its files meanwhile. A crash before its end leaves rows
// whose files have gone, which Find removes.
func (c *Catalog) remove(ctx context.Context, tx *sql.Tx, m Model) error {
	if err := c.forget(ctx, tx, m); err != nil {
		return err
	}
	return c.deleteUnnamed(ctx, tx, m)
}

// deleteUnnamed deletes those files of our own copy that no row names any more.
func (c *Catalog) deleteUnnamed(ctx context.Context, tx *sql.Tx, m Model) error {
	if !m.Own() {
		return nil
	}
	for _, f := range m.Files {
		var n int
		if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM files WHERE path = ?", f.Path).Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			continue
		}
		if err := c.delete(f.Path); err != nil {
			return err
		}
	}
	return nil
}

// delete deletes a file of ours, and the directory of parts when it is empty then.
func (c *Catalog) delete(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if dir := filepath.Dir(path); dir != c.o.Models && strings.HasSuffix(dir, partsSuffix) {
		_ = os.Remove(dir) // only when it is empty
	}
	return nil
}
