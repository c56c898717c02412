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
	"rbee/inference/gguf"
)

var hexHash = regexp.MustCompile(`^[0-9a-f]{64}$`)

// CheckHash returns an error unless text is a SHA-256 in lower-case hexadecimal.
func CheckHash(text string) error {
	if !hexHash.MatchString(text) {
		return &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("%.80q is no SHA-256", text)}
	}
	return nil
}

// ByHash returns a file whose content has the hash: it was computed here, and the
// file is as it was then.
func (c *Catalog) ByHash(ctx context.Context, hash string) (File, error) {
	all, err := query(ctx, c.db, "WHERE m.ref IN (SELECT ref FROM files WHERE sha256 = ?)", hash)
	if err != nil {
		return File{}, fmt.Errorf("catalog: hash %s: %w", hash, err)
	}
	for _, m := range all {
		for _, f := range m.Files {
			info, err := os.Stat(f.Path)
			if f.SHA256 == hash && !f.Wrong && err == nil && f.is(info) {
				return f, nil
			}
		}
	}
	return File{}, &core.Fault{Kind: core.ModelNotFound, What: fmt.Sprintf("no file with the hash %s is here", hash)}
}

// copySuffix is that of a copy that is being written.
const copySuffix = ".copying"

// PutBlob copies a model of one file and size bytes (−1: unknown) here and registers
// it as ref. Another content than the hash says is an error, and nothing is left of it.
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
	part, err := os.CreateTemp(c.o.Models, hash[:16]+".*"+copySuffix)
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
	head, err := gguf.Open(part.Name())
	if err != nil {
		return Model{}, noModel(string(ref), err)
	}
	_ = head.Close()
	f := File{Name: filepath.Base(string(ref)), Path: c.ownPath(hash, "", 1), SHA256: hash}
	if err := errors.Join(os.Rename(part.Name(), f.Path), syncDir(c.o.Models)); err != nil {
		return Model{}, fmt.Errorf("catalog: %w", err)
	}
	return c.AddFetched(ctx, Addition{Ref: ref, Source: Copied, Files: []File{f}})
}

// receive writes body to the disk and returns its hash.
func receive(ctx context.Context, f *os.File, body io.Reader) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(f, h), reader{ctx, body, nil}); err != nil {
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
			Try:   "make room: rbee model list; rbee model rm MODEL",
		}
	}
	return nil
}
