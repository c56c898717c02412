// Package catalog remembers the models of this machine in ~/.rbee/models.db, the
// only file that lasts. Several hives may use one catalog at once.
package catalog

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	_ "github.com/mattn/go-sqlite3" // the driver

	"rbee/core"
	"rbee/inference/gguf"
)

//go:embed migrations/*.sql
var migrations embed.FS

// A Model is one row.
type Model struct {
	Ref          core.ModelRef
	Path         string
	Size         int64
	Modified     time.Time
	SHA256       string // empty until it is computed
	Architecture string
	Quantization string
	Parameters   int64
	Source       Source
}

// Source is where a model's file came from.
type Source string

// The sources: a file of the user's that is used in place, or our own copy.
const (
	Imported Source = "import"
	Copied   Source = "copy"
)

// Options say where a catalog keeps its things.
type Options struct {
	File   string // models.db
	Models string // directory of our own copies
	State  string // where a broken catalog is put aside
	Log    *slog.Logger
}

// A Catalog is open. Its methods may be called at once; each is one transaction.
type Catalog struct {
	db *sql.DB
	o  Options
}

// tx runs f in a transaction.
func (c *Catalog) tx(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := c.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// Close closes the file.
func (c *Catalog) Close() error { return c.db.Close() }

const columns = "ref, path, size_bytes, modified_ns, sha256, architecture, quantization, parameters, source"

type row interface{ Scan(dest ...any) error }

func scan(r row) (m Model, err error) {
	var modified int64
	err = r.Scan(&m.Ref, &m.Path, &m.Size, &modified, &m.SHA256, &m.Architecture, &m.Quantization, &m.Parameters, &m.Source)
	m.Modified = time.Unix(0, modified)
	return m, err
}

// Find returns the model of a reference whose file is there and unchanged. A row
// whose file has gone is removed.
func (c *Catalog) Find(ctx context.Context, ref core.ModelRef) (Model, error) {
	m, err := scan(c.db.QueryRowContext(ctx, "SELECT "+columns+" FROM models WHERE ref = ?", ref))
	if errors.Is(err, sql.ErrNoRows) {
		return Model{}, notFound(ref)
	}
	if err != nil {
		return Model{}, fmt.Errorf("catalog: model %s: %w", ref, err)
	}
	info, err := os.Stat(m.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return Model{}, errors.Join(notFound(ref), c.Remove(ctx, ref))
	}
	if err != nil {
		return Model{}, fmt.Errorf("catalog: model %s: %w", ref, err)
	}
	if info.Size() != m.Size || !info.ModTime().Equal(m.Modified) {
		return c.add(ctx, ref, m.Path, "", m.Source) // another file by now
	}
	return m, nil
}

func notFound(ref core.ModelRef) error {
	f := &core.Fault{Kind: core.ModelNotFound, What: fmt.Sprintf("model %s is not in the catalog of this machine", ref)}
	if path, ok := ref.Path(); ok {
		f.What, f.Try = fmt.Sprintf("model file %s is not there", path), "check the path"
	}
	return f
}

// List returns all models, those whose file has gone left out, by reference.
func (c *Catalog) List(ctx context.Context) (all []Model, err error) {
	rows, err := c.db.QueryContext(ctx, "SELECT "+columns+" FROM models ORDER BY ref")
	if err != nil {
		return nil, fmt.Errorf("catalog: list: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		m, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("catalog: list: %w", err)
		}
		if _, err := os.Stat(m.Path); err == nil {
			all = append(all, m)
		}
	}
	return all, rows.Err()
}

// Import registers a file of this machine, which is used in place, under
// "file:PATH".
func (c *Catalog) Import(ctx context.Context, path string) (Model, error) {
	ref, err := core.ParseModelRef("file:" + path)
	if err != nil {
		return Model{}, err
	}
	path, _ = ref.Path()
	if m, err := scan(c.db.QueryRowContext(ctx, "SELECT "+columns+" FROM models WHERE ref = ?", ref)); err == nil && m.Path == path {
		return c.Find(ctx, ref) // keeps the hash
	}
	return c.add(ctx, ref, path, "", Imported)
}

// add reads the header of a file and writes its row.
func (c *Catalog) add(ctx context.Context, ref core.ModelRef, path, sha256 string, source Source) (Model, error) {
	m, err := read(path, path)
	if err != nil {
		return Model{}, err
	}
	m.Ref, m.SHA256, m.Source = ref, sha256, source
	err = c.tx(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO models (`+columns+`, added_at) VALUES (?,?,?,?,?,?,?,?,?,?)
			ON CONFLICT (ref) DO UPDATE SET path = excluded.path, size_bytes = excluded.size_bytes, modified_ns = excluded.modified_ns,
			sha256 = excluded.sha256, architecture = excluded.architecture, quantization = excluded.quantization,
			parameters = excluded.parameters, source = excluded.source, hashed_bytes = 0, hash_state = NULL`,
			m.Ref, m.Path, m.Size, m.Modified.UnixNano(), m.SHA256, m.Architecture, m.Quantization, m.Parameters, m.Source,
			time.Now().UTC().Format(time.RFC3339))
		return err
	})
	if err != nil {
		return Model{}, fmt.Errorf("catalog: model %s: %w", ref, err)
	}
	return m, nil
}

// read looks into a model file. called is its name in errors.
func read(path, called string) (Model, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Model{}, notFound(core.ModelRef("file:" + path))
	}
	if err != nil {
		return Model{}, fmt.Errorf("catalog: %w", err)
	}
	f, err := gguf.Open(path)
	if err != nil {
		return Model{}, &core.Fault{
			Kind: core.Invalid, What: fmt.Sprintf("model %s: %v", called, err),
			Try: "give a whole GGUF file; one that is cut off must be downloaded again", Cause: err,
		}
	}
	defer f.Close()
	return Model{
		Path: path, Size: info.Size(), Modified: info.ModTime(),
		Architecture: f.Architecture(), Quantization: f.Quantization(), Parameters: f.Parameters(),
	}, nil
}

// Remove forgets a model, and deletes its file when it is our copy and nobody
// else's row. A model that is not there is no error.
func (c *Catalog) Remove(ctx context.Context, ref core.ModelRef) error {
	var path string
	err := c.tx(ctx, func(tx *sql.Tx) error {
		m, err := scan(tx.QueryRowContext(ctx, "SELECT "+columns+" FROM models WHERE ref = ?", ref))
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM models WHERE ref = ?", ref); err != nil {
			return err
		}
		var others int
		if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM models WHERE path = ?", m.Path).Scan(&others); err != nil {
			return err
		}
		if m.Source == Copied && others == 0 {
			path = m.Path
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("catalog: remove %s: %w", ref, err)
	}
	if path != "" {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("catalog: remove %s: %w", ref, err)
		}
	}
	return nil
}

// Used notes that a model was loaded.
func (c *Catalog) Used(ctx context.Context, ref core.ModelRef) error {
	_, err := c.db.ExecContext(ctx, "UPDATE models SET uses = uses + 1, used_at = ? WHERE ref = ?", time.Now().UTC().Format(time.RFC3339), ref)
	if err != nil {
		return fmt.Errorf("catalog: %w", err)
	}
	return nil
}
