// Package catalog remembers the models of this machine in ~/.rbee/models.db, the
// only file that lasts there. Several processes may use one catalog at once.
//
// A model has one file, or its parts. Files of the user's and of other programs are
// used in place and never written to. Our own copies lie in the models directory,
// by their hash: <sha256>.gguf, or <sha256 of the first part>.parts/<name>. Beside
// each lies <sha256>.json, which says what it is: with these alone a catalog that is
// lost is made anew.
package catalog

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/mattn/go-sqlite3"
	"golang.org/x/sys/unix"

	"rbee/core"
)

//go:embed migrations/*.sql
var migrations embed.FS

// A Model is what the catalog knows of a model.
type Model struct {
	Ref      core.ModelRef
	Source   Source
	Revision string // commit of its repository; empty when it has none
	Files    []File // the parts in their order; most models have one

	Path   string // of the first file: what a worker opens
	Size   int64  // bytes of all files
	SHA256 string // of the file; in parts, of the lines of their hashes; empty until all are computed
	Wrong  string // why it must not be used; empty when it may

	Architecture string
	Quantization string
	Parameters   int64

	Pinned  bool // never removed to make room
	Uses    int64
	AddedAt time.Time
	UsedAt  time.Time // zero: never
}

// A File is one file of a model.
type File struct {
	Name     string // as its source calls it, without directories
	Path     string
	Size     int64
	Modified time.Time
	SHA256   string // of its content; empty until it is computed
	Promised string // the SHA-256 that its source says; empty when it says none
	Wrong    bool   // its content is not what it was, or not what was promised
}

// Source is where a model's files came from.
type Source string

// The sources.
const (
	Imported    Source = "import"      // a file of the user's, used in place
	HuggingFace Source = "huggingface" // in the cache of Hugging Face's programs, used in place
	Ollama      Source = "ollama"      // in the store of Ollama, used in place
	LMStudio    Source = "lmstudio"    // in the directory of LM Studio, used in place
	Copied      Source = "copy"        // our own, from another machine
	Fetched     Source = "hub"         // our own, from a hub
)

// Own tells whether a model's files are our own copies.
func (m Model) Own() bool { return m.Source == Copied || m.Source == Fetched }

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

// tx runs f in a transaction. Of all processes one is in a transaction at a time.
func (c *Catalog) tx(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := c.db.BeginTx(ctx, nil)
	if err != nil {
		return c.unwritten(err)
	}
	if err := f(tx); err != nil {
		return errors.Join(c.unwritten(err), tx.Rollback())
	}
	return c.unwritten(tx.Commit())
}

// unwritten makes the fault of a change that could not be written.
func (c *Catalog) unwritten(err error) error {
	var of sqlite3.Error
	isDB := errors.As(err, &of)
	switch {
	case isDB && of.Code == sqlite3.ErrFull || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT):
		return &core.Fault{
			Kind: core.InsufficientDisk, What: "the disk has no room for a change of the catalog",
			Try: "make room: rbee model list; rbee model rm MODEL", Cause: err,
		}
	case isDB:
		return &core.Fault{
			Kind: core.Internal, What: fmt.Sprintf("the catalog %s cannot be written: %v", filepath.Base(c.o.File), of),
			Try: "see that the file and its directory are there and may be written", Cause: err,
		}
	}
	return err
}

// Close closes the file.
func (c *Catalog) Close() error { return c.db.Close() }

// A querier is the database or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

const selection = `SELECT m.ref, m.source, m.revision, m.architecture, m.quantization, m.parameters, m.pinned, m.uses, m.added_at, m.used_at,
	f.name, f.path, f.size_bytes, f.modified_ns, f.sha256, f.promised, f.wrong
	FROM models m JOIN files f USING (ref) `

// query returns the models that a condition on m and f selects, by reference, after an
// error those that were read before it.
func query(ctx context.Context, q querier, where string, args ...any) (all []Model, err error) {
	rows, err := q.QueryContext(ctx, selection+where+" ORDER BY m.ref, f.part", args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var m Model
		var f File
		var added, used string
		var modified int64
		err := rows.Scan(&m.Ref, &m.Source, &m.Revision, &m.Architecture, &m.Quantization, &m.Parameters, &m.Pinned, &m.Uses, &added, &used,
			&f.Name, &f.Path, &f.Size, &modified, &f.SHA256, &f.Promised, &f.Wrong)
		if err != nil {
			return all, err
		}
		m.AddedAt, m.UsedAt, f.Modified = moment(added), moment(used), time.Unix(0, modified)
		if n := len(all); n == 0 || all[n-1].Ref != m.Ref {
			all = append(all, m)
		}
		last := &all[len(all)-1]
		last.Files = append(last.Files, f)
	}
	for i := range all {
		all[i].sum()
	}
	return all, rows.Err()
}

// moment reads a time of the file. What is none is the zero time.
func moment(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}
	}
	return t
}

func now() string { return time.Now().UTC().Format(time.RFC3339Nano) }

// sum fills in what follows from the files.
func (m *Model) sum() {
	m.Path, m.Size, m.SHA256, m.Wrong = m.Files[0].Path, 0, "", ""
	h, whole := sha256.New(), true
	for _, f := range m.Files {
		m.Size += f.Size
		whole = whole && f.SHA256 != ""
		fmt.Fprintln(h, f.SHA256)
		if f.Wrong {
			m.Wrong = fmt.Sprintf("the content of %s is not what it was, or not what its source promised", f.Path)
		}
	}
	switch {
	case whole && len(m.Files) == 1:
		m.SHA256 = m.Files[0].SHA256
	case whole:
		m.SHA256 = hex.EncodeToString(h.Sum(nil))
	}
}

// one returns the model of a reference as its row says.
func one(ctx context.Context, q querier, ref core.ModelRef) (Model, error) {
	all, err := query(ctx, q, "WHERE m.ref = ?", ref)
	if err != nil {
		return Model{}, fmt.Errorf("catalog: model %s: %w", ref, err)
	}
	if len(all) == 0 {
		return Model{}, notFound(ref)
	}
	return all[0], nil
}

// Find returns the model of a reference whose files are there. A row whose file has
// gone is removed. Our own copy whose file was touched, or that was found when the
// catalog was made anew, is hashed first, which takes its time: what is not what its
// name says is put aside, and is not found. A file in place that was changed is
// another model under the same reference; one that is known to be wrong is an error.
func (c *Catalog) Find(ctx context.Context, ref core.ModelRef) (Model, error) {
	m, err := one(ctx, c.db, ref)
	if err != nil {
		return Model{}, err
	}
	return c.fresh(ctx, m)
}

// fresh is a model as the disk has it now; see Find.
func (c *Catalog) fresh(ctx context.Context, m Model) (Model, error) {
	m, err := c.refit(ctx, m)
	if err == nil && m.Own() && m.SHA256 == "" {
		m, err = c.Hash(ctx, m)
	}
	if err == nil && m.Wrong != "" {
		err = &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("model %s: %s", m.Ref, m.Wrong), Try: "replace the file, or remove the model and pull it"}
	}
	return m, err
}

// refit makes the rows of a model fit its files. Those that are gone are removed.
func (c *Catalog) refit(ctx context.Context, m Model) (Model, error) {
	changed, err := m.changed()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Model{}, errors.Join(notFound(m.Ref), c.gone(ctx, m))
	case err != nil:
		return Model{}, fmt.Errorf("catalog: model %s: %w", m.Ref, err)
	case changed && m.Own():
		return c.touched(ctx, m)
	case changed:
		return c.renew(ctx, m)
	}
	return m, nil
}

// changed tells whether a file of the model is another one than its row says.
func (m Model) changed() (changed bool, err error) {
	for _, f := range m.Files {
		info, err := os.Stat(f.Path)
		if err != nil {
			return false, err
		}
		changed = changed || !f.is(info)
	}
	return changed, nil
}

// is tells whether a file looks as it did when it was read.
func (f File) is(info fs.FileInfo) bool {
	return info.Size() == f.Size && info.ModTime().Equal(f.Modified)
}

func notFound(ref core.ModelRef) error {
	f := &core.Fault{Kind: core.ModelNotFound, What: fmt.Sprintf("model %s is not in the catalog of this machine", ref)}
	if path, ok := ref.Path(); ok {
		f.What, f.Try = fmt.Sprintf("model file %s is not there", path), "check the path"
	}
	return f
}

// List returns all models, those whose file has gone left out, by reference.
func (c *Catalog) List(ctx context.Context) ([]Model, error) {
	all, err := query(ctx, c.db, "")
	if err != nil {
		return nil, fmt.Errorf("catalog: list: %w", err)
	}
	var here []Model
	for _, m := range all {
		if _, err := m.changed(); err == nil {
			here = append(here, m)
		}
	}
	return here, nil
}

// Used notes that a model was loaded.
func (c *Catalog) Used(ctx context.Context, ref core.ModelRef) error {
	_, err := c.db.ExecContext(ctx, "UPDATE models SET uses = uses + 1, used_at = ? WHERE ref = ?", now(), ref)
	if err != nil {
		return fmt.Errorf("catalog: %w", err)
	}
	return nil
}

// Pin keeps a model from being removed to make room, or no longer.
func (c *Catalog) Pin(ctx context.Context, ref core.ModelRef, pinned bool) error {
	err := c.tx(ctx, func(tx *sql.Tx) error {
		m, err := one(ctx, tx, ref)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE models SET pinned = ? WHERE ref = ?", pinned, ref); err != nil {
			return err
		}
		return c.describe(ctx, tx, m.key())
	})
	if err != nil {
		return fmt.Errorf("catalog: pin %s: %w", ref, err)
	}
	return nil
}

// key is the name of our own copy in the models directory: the hash of its first
// file. It is empty for a model that is in place.
func (m Model) key() string {
	if !m.Own() {
		return ""
	}
	return m.Files[0].Promised
}
