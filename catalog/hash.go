package catalog

import (
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
)

// A reader ends with its context.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(p)
}

// Hash computes the hash of a model's file and writes it to its row, unless the
// file is another one by then. When ctx ends it, the next Hash goes on from there.
func (c *Catalog) Hash(ctx context.Context, m Model) (string, error) {
	f, err := os.Open(m.Path)
	if err != nil {
		return "", fmt.Errorf("catalog: %w", err)
	}
	defer f.Close()
	h, at, err := c.hashSoFar(ctx, m)
	if err == nil {
		_, err = f.Seek(at, io.SeekStart)
	}
	if err != nil {
		return "", fmt.Errorf("catalog: hash of %s: %w", m.Path, err)
	}
	n, err := io.Copy(h, reader{ctx, f})
	if err != nil {
		err = errors.Join(err, c.keepHash(context.WithoutCancel(ctx), m, h, at+n))
		return "", fmt.Errorf("catalog: hash of %s: %w", m.Path, err)
	}
	sum := hex.EncodeToString(h.Sum(nil))
	_, err = c.db.ExecContext(ctx, "UPDATE models SET sha256 = ?, hashed_bytes = 0, hash_state = NULL WHERE ref = ? AND size_bytes = ? AND modified_ns = ?",
		sum, m.Ref, m.Size, m.Modified.UnixNano())
	if err != nil {
		return "", fmt.Errorf("catalog: hash of %s: %w", m.Ref, err)
	}
	return sum, nil
}

// hashSoFar is where an earlier Hash of the same file was broken off.
func (c *Catalog) hashSoFar(ctx context.Context, m Model) (h hash.Hash, at int64, err error) {
	h = sha256.New()
	var state []byte
	err = c.db.QueryRowContext(ctx, "SELECT hashed_bytes, hash_state FROM models WHERE ref = ? AND size_bytes = ? AND modified_ns = ?",
		m.Ref, m.Size, m.Modified.UnixNano()).Scan(&at, &state)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, 0, err
	}
	u, ok := h.(encoding.BinaryUnmarshaler)
	if len(state) == 0 || !ok || u.UnmarshalBinary(state) != nil { // of another version of Go: from the start
		return sha256.New(), 0, nil //nolint:nilerr // see above
	}
	return h, at, nil
}

func (c *Catalog) keepHash(ctx context.Context, m Model, h hash.Hash, at int64) error {
	b, ok := h.(encoding.BinaryMarshaler)
	if !ok {
		return nil
	}
	state, err := b.MarshalBinary()
	if err != nil {
		return err
	}
	_, err = c.db.ExecContext(ctx, "UPDATE models SET hashed_bytes = ?, hash_state = ? WHERE ref = ? AND size_bytes = ? AND modified_ns = ?",
		at, state, m.Ref, m.Size, m.Modified.UnixNano())
	return err
}
