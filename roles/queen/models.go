package queen

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"rbee/core"
	"rbee/core/api"
)

// resolve checks the model of a task and returns its reference in full. A file
// must be there, and have been imported or lie in a model directory: a caller of
// the API cannot make us read any other.
func (q *queen) resolve(ctx context.Context, model core.ModelRef) (core.ModelRef, error) {
	ref, err := q.lookUp(model)
	if errors.Is(err, errNotImported) && q.recall(ctx) {
		return q.lookUp(model)
	}
	return ref, err
}

var errNotImported = errors.New("queen: not imported")

// recall takes in what was imported before a restart: the hive of this machine has it
// in its catalog.
func (q *queen) recall(ctx context.Context) bool {
	if q.d.Mode != core.Persistent {
		return false
	}
	ctx, done, err := q.tasks.call(ctx)
	if err != nil {
		return false
	}
	defer done()
	l, err := q.fleet.Ensure(ctx, core.Localhost, func(api.Event) {})
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 2*glance)
	defer cancel()
	list, err := l.hive.Models(ctx)
	for _, m := range list.Models {
		m.Node = l.node
		q.learn(m)
	}
	return err == nil
}

// learn lets tasks name a file that was imported to the hive of this machine.
func (q *queen) learn(m api.Model) {
	if path, ok := m.Ref.Path(); ok && m.Node == core.Localhost && q.d.Mode == core.Persistent {
		q.files.add(path)
	}
}

// named is the reference that a name stands for.
func (q *queen) named(model core.ModelRef) (core.ModelRef, error) { return q.names.Resolve(model) }

// lookUp is resolve by what is known here.
func (q *queen) lookUp(model core.ModelRef) (core.ModelRef, error) {
	ref, err := q.named(model)
	if err != nil {
		return "", err
	}
	path, ok := ref.Path()
	if !ok {
		return ref, nil
	}
	if !q.files.has(path) && !ref.In(q.dirs) {
		return "", &core.Fault{
			Kind: core.Invalid, What: fmt.Sprintf("model file %s was not imported", path),
			Try: "rbee model import " + path, Cause: errNotImported,
		}
	}
	_, err = stat(path)
	return ref, err
}

// stat returns what a model file is. Whether it is a model is for the hive to say
// that reads it.
func stat(path string) (fs.FileInfo, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &core.Fault{Kind: core.ModelNotFound, What: fmt.Sprintf("model file %s is not there", path), Try: "check the path"}
	case err != nil:
		return nil, &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("model file %s: %v", path, err), Cause: err}
	case !info.Mode().IsRegular():
		return nil, &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("model %s is no file", path), Try: "give the path of a .gguf file"}
	}
	return info, nil
}

// allow lets tasks name a file of this machine.
func (q *queen) allow(path string) (api.Model, error) {
	ref, err := core.ParseModelRef("file:" + path)
	if err != nil {
		return api.Model{}, err
	}
	path, _ = ref.Path()
	info, err := stat(path)
	if err != nil {
		return api.Model{}, err
	}
	q.files.add(path)
	return api.Model{Ref: ref, Path: path, SizeBytes: info.Size()}, nil
}

// hashes are the SHA-256 of files, each computed once as long as the file is the same.
type hashes struct {
	computing turns[string]

	mu sync.Mutex // guards by
	by map[stamp]string
}

// A stamp tells one state of a file from another.
type stamp struct {
	path     string
	size     int64
	modified time.Time
}

// of returns the hash of a file. Reading it ends with ctx.
func (h *hashes) of(ctx context.Context, path string) (string, error) {
	done, err := h.computing.take(ctx, path)
	if err != nil {
		return "", err
	}
	defer done()
	info, err := stat(path)
	if err != nil {
		return "", err
	}
	at := stamp{path, info.Size(), info.ModTime()}
	if hash, ok := h.known(at); ok {
		return hash, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("model file %s: %v", path, err), Cause: err}
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, &reader{ctx, f}); err != nil {
		return "", fmt.Errorf("queen: hash of %s: %w", path, err)
	}
	return h.learn(at, hex.EncodeToString(sum.Sum(nil))), nil
}

func (h *hashes) known(at stamp) (string, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	hash, ok := h.by[at]
	return hash, ok
}

// path returns a file that had the hash when it was read, if it is still the same.
func (h *hashes) path(hash string) (string, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for at, sum := range h.by {
		if info, err := os.Stat(at.path); sum == hash && err == nil && at == (stamp{at.path, info.Size(), info.ModTime()}) {
			return at.path, true
		}
	}
	return "", false
}

func (h *hashes) learn(at stamp, hash string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.by == nil {
		h.by = map[stamp]string{}
	}
	h.by[at] = hash
	return hash
}

// A reader reads until its context is done.
type reader struct {
	ctx context.Context // of one copy, which is as long as the reader lives
	r   io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(p)
}
