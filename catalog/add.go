package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"rbee/core"
	"rbee/inference/gguf"
)

// An Addition is what a caller says of a model whose files are on this machine. Of a
// file, Name, Path and what is known of its hash are used: in SHA256 when the content
// was verified, in Promised when it is only what the source says.
type Addition struct {
	Ref      core.ModelRef
	Revision string
	Source   Source
	Files    []File // the parts in their order
	Pinned   bool
}

// Import registers a file of this machine, which is used in place, under
// "file:PATH": the whole model when it is in parts and path names the first.
func (c *Catalog) Import(ctx context.Context, path string) (Model, error) {
	ref, err := core.ParseModelRef("file:" + path)
	if err != nil {
		return Model{}, err
	}
	path, _ = ref.Path()
	if m, err := one(ctx, c.db, ref); err == nil && m.Path == path {
		return c.Find(ctx, ref) // keeps the hash
	}
	a := Addition{Ref: ref, Source: Imported}
	parts := gguf.Parts(path)
	if parts[0] != path {
		parts = []string{path} // which says, if it is a part, that it is not the first
	}
	for _, part := range parts {
		a.Files = append(a.Files, File{Name: filepath.Base(part), Path: part})
	}
	return c.add(ctx, a)
}

// AddInPlace registers a model that another program has on this machine. Nothing of
// it is ever written to or removed. A file that was found to be wrong before is an
// error until it is another one.
func (c *Catalog) AddInPlace(ctx context.Context, a Addition) (Model, error) {
	m, err := one(ctx, c.db, a.Ref)
	if err == nil && m.sameFiles(a) {
		return c.Find(ctx, a.Ref) // keeps the hash
	}
	if err == nil && m.Own() {
		if m, err = c.fresh(ctx, m); err == nil {
			return m, nil // what is ours stays
		}
	}
	return c.add(ctx, a)
}

func (m Model) sameFiles(a Addition) bool {
	if m.Source != a.Source || m.Revision != a.Revision || len(m.Files) != len(a.Files) {
		return false
	}
	for i, f := range m.Files {
		if f.Path != a.Files[i].Path || f.Promised != a.Files[i].Promised {
			return false
		}
	}
	return true
}

// AddFetched registers our own copy, whose files were verified and lie in the models
// directory: <sha256>.gguf, or <sha256 of the first>.parts/<name>. A model that was
// there under the reference is replaced, and its files go when nothing needs them.
func (c *Catalog) AddFetched(ctx context.Context, a Addition) (Model, error) {
	for i := range a.Files {
		f := &a.Files[i]
		if err := errors.Join(CheckHash(f.SHA256), checkName(f.Name)); err != nil {
			return Model{}, err
		}
		if want := c.ownPath(a.Files[0].SHA256, f.Name, len(a.Files)); f.Path != want {
			return Model{}, fmt.Errorf("catalog: model %s: file %s is not at %s", a.Ref, f.Path, want)
		}
		f.Promised = f.SHA256
	}
	m, err := c.add(ctx, a)
	if errors.Is(err, core.Invalid) { // what no model can be made of goes, too
		err = errors.Join(err, c.tx(ctx, func(tx *sql.Tx) error {
			return c.deleteUnnamed(ctx, tx, Model{Source: a.Source, Files: a.Files})
		}))
	}
	return m, err
}

// ownPath is where a file of our own copy lies. key is the hash of the first file.
func (c *Catalog) ownPath(key, name string, files int) string {
	if files == 1 {
		return filepath.Join(c.o.Models, key+".gguf")
	}
	return filepath.Join(c.o.Models, key+".parts", name)
}

// add reads the header of a model and writes its rows, over what was there.
func (c *Catalog) add(ctx context.Context, a Addition) (Model, error) {
	m, err := read(a)
	if err != nil {
		return Model{}, err
	}
	err = c.tx(ctx, func(tx *sql.Tx) error {
		if _, err := m.changed(); err != nil { // removed since it was read
			return notFound(core.ModelRef("file:" + m.Path))
		}
		old, err := one(ctx, tx, a.Ref)
		switch {
		case errors.Is(err, core.ModelNotFound):
		case err != nil:
			return err
		default:
			m.Uses, m.UsedAt, m.AddedAt, m.Pinned = old.Uses, old.UsedAt, old.AddedAt, m.Pinned || old.Pinned
		}
		if err := c.insert(ctx, tx, m); err != nil {
			return err
		}
		return c.beside(ctx, tx, old, m)
	})
	if err != nil {
		return Model{}, fmt.Errorf("catalog: model %s: %w", a.Ref, err)
	}
	return one(ctx, c.db, a.Ref)
}

// insert writes the rows of a model, over those of its reference.
func (c *Catalog) insert(ctx context.Context, tx *sql.Tx, m Model) error {
	h, _ := m.Ref.Hub()
	used := ""
	if !m.UsedAt.IsZero() {
		used = m.UsedAt.UTC().Format(time.RFC3339Nano)
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM models WHERE ref = ?", m.Ref); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO models
		(ref, source, repo, revision, architecture, quantization, parameters, pinned, added_at, used_at, uses) VALUES (?,?,?,?,?,?,?,?,?,?,?)`,
		m.Ref, m.Source, h.Repo, m.Revision, m.Architecture, m.Quantization, m.Parameters, m.Pinned,
		m.AddedAt.UTC().Format(time.RFC3339Nano), used, m.Uses)
	for part, f := range m.Files {
		if err != nil {
			break
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO files (ref, part, name, path, size_bytes, modified_ns, sha256, promised) VALUES (?,?,?,?,?,?,?,?)",
			m.Ref, part, f.Name, f.Path, f.Size, f.Modified.UnixNano(), f.SHA256, f.Promised)
	}
	return err
}

// beside writes what lies beside our own copies when old became m. The files of old
// go, unless a model is still made of them, or a process uses them.
func (c *Catalog) beside(ctx context.Context, tx *sql.Tx, old, m Model) error {
	if err := c.describe(ctx, tx, m.key()); err != nil {
		return err
	}
	if len(old.Files) == 0 || !old.Own() || old.key() == m.key() {
		return nil
	}
	if err := c.describe(ctx, tx, old.key()); err != nil {
		return err
	}
	locks := held{}
	defer locks.release()
	if !locks.take(old.Path) {
		return nil // GC finds them
	}
	return c.deleteUnnamed(ctx, tx, old)
}

// read looks into the files of a model.
func read(a Addition) (Model, error) {
	m := Model{Ref: a.Ref, Source: a.Source, Revision: a.Revision, Pinned: a.Pinned, AddedAt: time.Now()}
	if len(a.Files) == 0 {
		return Model{}, &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("model %s has no files", a.Ref)}
	}
	for _, f := range a.Files {
		info, err := os.Stat(f.Path)
		if errors.Is(err, fs.ErrNotExist) {
			return Model{}, notFound(core.ModelRef("file:" + f.Path))
		}
		if err != nil {
			return Model{}, fmt.Errorf("catalog: %w", err)
		}
		f.Size, f.Modified, f.Wrong = info.Size(), info.ModTime(), false
		m.Files = append(m.Files, f)
	}
	f, err := gguf.Open(a.Files[0].Path)
	if errors.Is(err, fs.ErrNotExist) { // removed at this moment
		return Model{}, notFound(core.ModelRef("file:" + a.Files[0].Path))
	}
	if err != nil {
		return Model{}, noModel(a.Files[0].Path, err)
	}
	defer f.Close()
	m.Architecture, m.Quantization, m.Parameters = f.Architecture(), f.Quantization(), f.Parameters()
	m.sum()
	return m, nil
}

func noModel(called string, err error) error {
	return &core.Fault{
		Kind: core.Invalid, What: fmt.Sprintf("model %s: %v", called, err),
		Try: "give a whole GGUF file; one that is cut off must be downloaded again", Cause: err,
	}
}

// renew reads a model whose files in place are others by now. What its source
// promises stays; what they were found to be does not.
func (c *Catalog) renew(ctx context.Context, m Model) (Model, error) {
	a := Addition{Ref: m.Ref, Revision: m.Revision, Source: m.Source, Pinned: m.Pinned}
	for _, f := range m.Files {
		a.Files = append(a.Files, File{Name: f.Name, Path: f.Path, Promised: f.Promised})
	}
	return c.add(ctx, a)
}

// touched forgets the hashes of those files of our own copy that are not as they
// were. What they must be is known.
func (c *Catalog) touched(ctx context.Context, m Model) (Model, error) {
	err := c.tx(ctx, func(tx *sql.Tx) error {
		for part, f := range m.Files {
			info, err := os.Stat(f.Path)
			if err != nil {
				return err
			}
			if f.is(info) {
				continue
			}
			if _, err := tx.ExecContext(ctx, `UPDATE files SET size_bytes = ?, modified_ns = ?, sha256 = '', hashed_bytes = 0, hash_state = NULL
				WHERE ref = ? AND part = ?`, info.Size(), info.ModTime().UnixNano(), m.Ref, part); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return Model{}, fmt.Errorf("catalog: model %s: %w", m.Ref, err)
	}
	return one(ctx, c.db, m.Ref)
}
