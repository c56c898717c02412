package catalog

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"rbee/core"
)

// A reader ends with its context, and says what it has read.
type reader struct {
	ctx  context.Context
	r    io.Reader
	read func(bytes int)
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, context.Cause(r.ctx)
	}
	n, err := r.r.Read(p)
	if r.read != nil {
		r.read(n)
	}
	return n, err
}

// Hash computes the hashes of a model's files that are not known and writes them to
// its rows, unless the files are others by then. When ctx ends it, the next Hash goes
// on from there. A file whose source promised another content is treated as Verify
// does.
func (c *Catalog) Hash(ctx context.Context, m Model) (Model, error) {
	for part, f := range m.Files {
		if f.SHA256 != "" || f.Wrong {
			continue
		}
		sum, err := c.hash(ctx, m, part)
		if err != nil {
			return Model{}, fmt.Errorf("catalog: hash of %s: %w", f.Path, err)
		}
		w, err := c.judge(ctx, m, part, sum)
		if err != nil {
			return Model{}, fmt.Errorf("catalog: hash of %s: %w", f.Path, err)
		}
		if w != nil && w.Aside != "" {
			return Model{}, &core.Fault{
				Kind: core.ModelNotFound, What: fmt.Sprintf("our copy of model %s was damaged: %s is put aside as %s", m.Ref, f.Path, w.Aside),
				Facts: []core.Fact{core.Text("expected", f.Promised), core.Text("found", w.Got)}, Try: "rbee model pull " + string(m.Ref),
			}
		}
	}
	return one(ctx, c.db, m.Ref)
}

// hash computes the hash of one file, from where an earlier one was broken off.
func (c *Catalog) hash(ctx context.Context, m Model, part int) (string, error) {
	f, err := os.Open(m.Files[part].Path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h, at, err := c.hashSoFar(ctx, m, part)
	if err == nil {
		_, err = f.Seek(at, io.SeekStart)
	}
	if err != nil {
		return "", err
	}
	n, err := io.Copy(h, reader{ctx, f, nil})
	if err != nil {
		return "", errors.Join(err, c.keepHash(context.WithoutCancel(ctx), m, part, h, at+n))
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// hashSoFar is where an earlier Hash of the same file was broken off.
func (c *Catalog) hashSoFar(ctx context.Context, m Model, part int) (h hash.Hash, at int64, err error) {
	h = sha256.New()
	var state []byte
	f := m.Files[part]
	err = c.db.QueryRowContext(ctx, "SELECT hashed_bytes, hash_state FROM files WHERE ref = ? AND part = ? AND size_bytes = ? AND modified_ns = ?",
		m.Ref, part, f.Size, f.Modified.UnixNano()).Scan(&at, &state)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, 0, err
	}
	u, ok := h.(encoding.BinaryUnmarshaler)
	if len(state) == 0 || !ok || u.UnmarshalBinary(state) != nil { // of another version of Go: from the start
		return sha256.New(), 0, nil //nolint:nilerr // see above
	}
	return h, at, nil
}

func (c *Catalog) keepHash(ctx context.Context, m Model, part int, h hash.Hash, at int64) error {
	b, ok := h.(encoding.BinaryMarshaler)
	if !ok {
		return nil
	}
	state, err := b.MarshalBinary()
	if err != nil {
		return err
	}
	f := m.Files[part]
	_, err = c.db.ExecContext(ctx, "UPDATE files SET hashed_bytes = ?, hash_state = ? WHERE ref = ? AND part = ? AND size_bytes = ? AND modified_ns = ?",
		at, state, m.Ref, part, f.Size, f.Modified.UnixNano())
	return err
}

// A Verdict is what Verify found.
type Verdict struct {
	Model Model   // as it was when its files were read
	Wrong []Wrong // none: all is as it must be
}

// Wrong is a file whose content is not what it must be.
type Wrong struct {
	File  File
	Got   string // the hash of what is there
	Aside string // where our own copy was put; empty for a file in place, which stays where it is
}

// Verify computes the hashes of all files of a model again. progress, which may be
// nil, is told the bytes that were read, of all files together. Of a model of ours
// that is wrong, the wrong file is put aside, as PATH.wrong, and its rows are removed,
// so that the next use fetches just this file again. A model in place that is wrong
// is marked, and Find refuses it, until the file is another one.
func (c *Catalog) Verify(ctx context.Context, ref core.ModelRef, progress func(done, total int64)) (Verdict, error) {
	m, err := one(ctx, c.db, ref)
	if err == nil {
		m, err = c.refit(ctx, m)
	}
	if err != nil {
		return Verdict{}, err
	}
	v := Verdict{Model: m}
	var done int64
	for part, f := range m.Files {
		sum, err := hashFile(ctx, f.Path, func(n int) {
			if done += int64(n); progress != nil {
				progress(done, m.Size)
			}
		})
		if err != nil {
			return v, fmt.Errorf("catalog: verify %s: %w", f.Path, err)
		}
		w, err := c.judge(ctx, m, part, sum)
		if err != nil {
			return v, fmt.Errorf("catalog: verify %s: %w", f.Path, err)
		}
		if w != nil {
			v.Wrong = append(v.Wrong, *w)
			continue
		}
		v.Model.Files[part].SHA256, v.Model.Files[part].Wrong = sum, false
	}
	v.Model.sum()
	return v, nil
}

func hashFile(ctx context.Context, path string, read func(int)) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, reader{ctx, f, read}); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// judge compares the hash of a file with what it must be, and writes it down, for all
// models that are made of the file; see Verify for what becomes of a wrong one.
func (c *Catalog) judge(ctx context.Context, m Model, part int, sum string) (*Wrong, error) {
	f := m.Files[part]
	want := cmp.Or(f.Promised, f.SHA256)
	if want != "" && want != sum && m.Own() {
		aside, err := c.putAside(ctx, f.Path)
		return &Wrong{f, sum, aside}, err
	}
	if want != "" && want != sum {
		c.o.Log.Warn("a file is not what it was, or not what its source promised", "model", string(m.Ref), "path", f.Path)
		_, err := c.db.ExecContext(ctx, `UPDATE files SET wrong = 1, hashed_bytes = 0, hash_state = NULL
			WHERE ref = ? AND part = ? AND size_bytes = ? AND modified_ns = ?`, m.Ref, part, f.Size, f.Modified.UnixNano())
		return &Wrong{File: f, Got: sum}, err
	}
	_, err := c.db.ExecContext(ctx, `UPDATE files SET sha256 = ?, wrong = 0, hashed_bytes = 0, hash_state = NULL
		WHERE path = ? AND size_bytes = ? AND modified_ns = ? AND promised IN ('', ?) AND sha256 IN ('', ?)`,
		sum, f.Path, f.Size, f.Modified.UnixNano(), sum, sum)
	return nil, err
}

const wrongSuffix = ".wrong"

// putAside moves a file of ours out of the way and removes the rows that name it.
func (c *Catalog) putAside(ctx context.Context, path string) (aside string, err error) {
	err = c.tx(ctx, func(tx *sql.Tx) error {
		all, err := query(ctx, tx, "WHERE m.ref IN (SELECT ref FROM files WHERE path = ?)", path)
		for _, m := range all {
			if err == nil {
				err = c.forget(ctx, tx, m)
			}
		}
		if err != nil {
			return err
		}
		return os.Rename(path, path+wrongSuffix)
	})
	if err == nil {
		c.o.Log.Warn("our own copy of a model was damaged and is put aside", "path", path+wrongSuffix)
	}
	return path + wrongSuffix, err
}
