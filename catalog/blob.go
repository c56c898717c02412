package catalog

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"

	"golang.org/x/sys/unix"

	"rbee/core"
)

var hexHash = regexp.MustCompile(`^[0-9a-f]{64}$`)

// CheckHash returns an error unless text is a SHA-256 in lower-case hexadecimal.
func CheckHash(text string) error {
	if !hexHash.MatchString(text) {
		return &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("%.80q is no SHA-256", text)}
	}
	return nil
}

// ByHash returns a model whose content has the hash.
func (c *Catalog) ByHash(ctx context.Context, hash string) (Model, error) {
	m, err := scan(c.db.QueryRowContext(ctx, "SELECT "+columns+" FROM models WHERE sha256 = ?", hash))
	if err != nil {
		return Model{}, &core.Fault{Kind: core.ModelNotFound, What: fmt.Sprintf("no model with the hash %s is here", hash)}
	}
	return m, nil
}

// PutBlob copies a model of size bytes (−1: unknown) here and registers it as
// ref. Another content than the hash says is an error, and nothing is left of it.
func (c *Catalog) PutBlob(ctx context.Context, hash string, ref core.ModelRef, size int64, body io.Reader) (Model, error) {
	if err := CheckHash(hash); err != nil {
		return Model{}, err
	}
	if err := os.MkdirAll(c.o.Models, 0o700); err != nil {
		return Model{}, fmt.Errorf("catalog: %w", err)
	}
	if err := room(c.o.Models, size); err != nil {
		return Model{}, err
	}
	part, err := os.CreateTemp(c.o.Models, hash[:16]+".*.partial")
	if err != nil {
		return Model{}, fmt.Errorf("catalog: %w", err)
	}
	defer os.Remove(part.Name()) // after the rename there is nothing to remove
	got, err := receive(ctx, part, body)
	if err = errors.Join(err, part.Close()); err != nil {
		return Model{}, fmt.Errorf("catalog: copy of %s: %w", ref, err)
	}
	if got != hash {
		return Model{}, &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("the content of %s has the hash %s, not %s", ref, got, hash), Try: "copy it again"}
	}
	if _, err := read(part.Name(), string(ref)); err != nil {
		return Model{}, err
	}
	path := filepath.Join(c.o.Models, hash+".gguf")
	if err := os.Rename(part.Name(), path); err != nil {
		return Model{}, fmt.Errorf("catalog: %w", err)
	}
	return c.add(ctx, ref, path, hash, Copied)
}

// receive writes body to the disk and returns its hash.
func receive(ctx context.Context, f *os.File, body io.Reader) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(f, h), reader{ctx, body}); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), f.Sync()
}

// room is an error when fewer than size bytes are free.
func room(dir string, size int64) error {
	var st unix.Statfs_t
	known := size > 0 && unix.Statfs(dir, &st) == nil
	if free := int64(st.Bavail) * st.Bsize; known && free < size {
		return &core.Fault{
			Kind: core.InsufficientDisk, What: fmt.Sprintf("the disk has no room for a model of %d bytes", size),
			Facts: []core.Fact{core.Number("required_bytes", size), core.Number("available_bytes", free)},
			Try:   "remove models: rm " + filepath.Join(dir, "*.gguf"),
		}
	}
	return nil
}
