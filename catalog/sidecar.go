package catalog

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"rbee/core"
)

const (
	partsSuffix   = ".parts"
	sidecarSuffix = ".json"
)

// A sidecar lies beside our own copy and says which models it is, so that a catalog
// that is lost loses nothing. It is written before the rows of a model, inside the
// transaction, and removed before them: a crash in between leaves a sidecar without
// rows, which the next Open takes over, or rows without a sidecar, which it mends.
type sidecar struct {
	Models []described `json:"models"`
}

type described struct {
	Ref      core.ModelRef   `json:"model_ref"`
	Source   Source          `json:"source"`
	Revision string          `json:"revision,omitempty"`
	Pinned   bool            `json:"pinned,omitempty"`
	AddedAt  time.Time       `json:"added_at"`
	Files    []describedFile `json:"files"`
}

type describedFile struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}

// describe makes the sidecar of a key say what the rows say. No key, no sidecar.
func (c *Catalog) describe(ctx context.Context, tx *sql.Tx, key string) error {
	if key == "" {
		return nil
	}
	all, err := query(ctx, tx, `WHERE m.source IN ('copy', 'hub')
		AND m.ref IN (SELECT ref FROM files WHERE part = 0 AND promised = ?)`, key)
	if err != nil {
		return err
	}
	var s sidecar
	for _, m := range all {
		d := described{Ref: m.Ref, Source: m.Source, Revision: m.Revision, Pinned: m.Pinned, AddedAt: m.AddedAt}
		for _, f := range m.Files {
			d.Files = append(d.Files, describedFile{f.Name, f.Promised})
		}
		s.Models = append(s.Models, d)
	}
	return c.writeSidecar(key, s)
}

func (c *Catalog) writeSidecar(key string, s sidecar) error {
	name := filepath.Join(c.o.Models, key+sidecarSuffix)
	if len(s.Models) == 0 {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	b, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return err
	}
	return replace(name, append(b, '\n'))
}

// replace writes a file so that a crash leaves the old content or the new one.
func replace(name string, content []byte) error {
	f, err := os.OpenFile(name+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	return syncDir(filepath.Dir(name))
}

// syncDir makes renames last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

var errSidecar = errors.New("it is none")

// readSidecar returns the models that a sidecar describes. Their hashes are promises:
// nobody has looked into the files since.
func (c *Catalog) readSidecar(key string) (all []described, err error) {
	b, err := os.ReadFile(filepath.Join(c.o.Models, key+sidecarSuffix))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var s sidecar
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("%w: %w", errSidecar, err)
	}
	for _, d := range s.Models {
		if err := d.check(key); err != nil {
			return nil, fmt.Errorf("%w: %w", errSidecar, err)
		}
	}
	return s.Models, nil
}

// check is for what others may have written: a sidecar is a file like any other.
func (d described) check(key string) error {
	ref, err := core.ParseModelRef(string(d.Ref))
	if err != nil || ref != d.Ref || d.Source != Copied && d.Source != Fetched {
		return fmt.Errorf("reference %.80q from %.20q is none of ours", d.Ref, d.Source)
	}
	if len(d.Files) == 0 || d.Files[0].SHA256 != key {
		return fmt.Errorf("model %s: its first file is another one", d.Ref)
	}
	for _, f := range d.Files {
		if err := errors.Join(CheckHash(f.SHA256), checkName(f.Name)); err != nil {
			return fmt.Errorf("model %s: %w", d.Ref, err)
		}
	}
	return nil
}

// checkName returns an error unless name can be that of a file of ours.
func checkName(name string) error {
	if name == "" || name != filepath.Base(name) || strings.HasPrefix(name, ".") || strings.ContainsRune(name, 0) {
		return fmt.Errorf("%.80q is no name of a file", name)
	}
	return nil
}

// mend makes sidecars and rows say the same, where a crash was between them; see
// sidecar. Nothing is written when they do.
func (c *Catalog) mend(ctx context.Context) error {
	entries, err := os.ReadDir(c.o.Models)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	all, err := query(ctx, c.db, "WHERE m.source IN ('copy', 'hub')")
	if err != nil {
		return err
	}
	rows := map[string][]core.ModelRef{}
	for _, m := range all {
		rows[m.key()] = append(rows[m.key()], m.Ref)
		if err := c.relocate(ctx, m); err != nil {
			return err
		}
	}
	for _, e := range entries {
		if key, ok := strings.CutSuffix(e.Name(), sidecarSuffix); ok && CheckHash(key) == nil && rows[key] == nil {
			rows[key] = []core.ModelRef{}
		}
	}
	for key, refs := range rows {
		says, err := c.readSidecar(key)
		if err == nil && sameRefs(says, refs) {
			continue
		}
		if err = c.tx(ctx, func(tx *sql.Tx) error { return c.agree(ctx, tx, key) }); err != nil {
			c.o.Log.Warn("our own copy is not what the file beside it says", "file", key+sidecarSuffix, "error", err.Error())
		}
	}
	return nil
}

// relocate makes rows name the models directory when our own copies were moved into it
// from another one.
func (c *Catalog) relocate(ctx context.Context, m Model) error {
	if _, err := m.changed(); m.Path == c.ownPath(m.key(), m.Files[0].Name, len(m.Files)) || !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for i := range m.Files {
		m.Files[i].Path = c.ownPath(m.key(), m.Files[i].Name, len(m.Files))
	}
	if _, err := m.changed(); err != nil {
		return nil //nolint:nilerr // they are not there either
	}
	return c.tx(ctx, func(tx *sql.Tx) error { return c.insert(ctx, tx, m) })
}

func sameRefs(says []described, refs []core.ModelRef) bool {
	return len(says) == len(refs) && !slices.ContainsFunc(says, func(d described) bool { return !slices.Contains(refs, d.Ref) })
}

// agree registers what a sidecar describes and no row does, and makes the sidecar say
// what the rows say. It looks at both inside the transaction, for others may be at work.
func (c *Catalog) agree(ctx context.Context, tx *sql.Tx, key string) error {
	says, err := c.readSidecar(key)
	if errors.Is(err, errSidecar) {
		c.o.Log.Warn("a file that describes our own copy is written anew", "file", key+sidecarSuffix, "error", err.Error())
		err = nil
	}
	if err != nil {
		return err
	}
	for _, d := range says {
		_, err := one(ctx, tx, d.Ref)
		if err == nil {
			continue
		}
		if !errors.Is(err, core.ModelNotFound) {
			return err
		}
		m, err := c.described(key, d)
		if errors.Is(err, core.ModelNotFound) {
			continue // its file has gone
		}
		if err == nil {
			err = c.insert(ctx, tx, m)
		}
		if err != nil {
			return err
		}
	}
	return c.describe(ctx, tx, key)
}

// described reads the files of a model that a sidecar describes.
func (c *Catalog) described(key string, d described) (Model, error) {
	a := Addition{Ref: d.Ref, Source: d.Source, Revision: d.Revision, Pinned: d.Pinned}
	for _, f := range d.Files {
		a.Files = append(a.Files, File{Name: f.Name, Path: c.ownPath(key, f.Name, len(d.Files)), Promised: f.SHA256})
	}
	m, err := read(a)
	if !d.AddedAt.IsZero() {
		m.AddedAt = d.AddedAt
	}
	return m, err
}
