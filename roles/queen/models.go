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

	"rbee/core"
	"rbee/core/api"
)

// allow lets tasks name a file of this machine. Whether it is a model is for the
// hive to say that reads it.
func (q *queen) allow(path string) (api.Model, error) {
	ref, err := core.ParseModelRef("file:" + path)
	if err != nil {
		return api.Model{}, err
	}
	path, _ = ref.Path()
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return api.Model{}, &core.Fault{Kind: core.ModelNotFound, What: fmt.Sprintf("model file %s is not there", path), Try: "check the path"}
	case err != nil:
		return api.Model{}, &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("model file %s: %v", path, err), Cause: err}
	case !info.Mode().IsRegular():
		return api.Model{}, &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("model %s is no file", path), Try: "give the path of a .gguf file"}
	}
	q.files.add(path)
	return api.Model{Ref: ref, Path: path, SizeBytes: info.Size()}, nil
}

// provide sees to it that the node's hive has the task's model: on this machine
// the file is used in place, to another one it is copied.
func (a *answer) provide(ctx context.Context, n *node) error {
	path, ok := a.model.Path()
	if !ok {
		return nil
	}
	if n.conn == nil {
		_, err := n.hive.HiveImport(ctx, path)
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return &core.Fault{Kind: core.ModelNotFound, What: fmt.Sprintf("model file %s: %v", path, err), Cause: err}
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("queen: %w", err)
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return fmt.Errorf("queen: hash of %s: %w", path, err)
	}
	hash := hex.EncodeToString(h.Sum(nil))
	there, err := n.hive.Models(ctx)
	if err != nil {
		return err
	}
	for _, m := range there.Models {
		if m.SHA256 == hash && m.Ref == a.model {
			return nil
		}
	}
	a.say(api.Push, fmt.Sprintf("copying %s (%d MB) to %s", info.Name(), info.Size()/1e6, n.name))
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("queen: %w", err)
	}
	return n.hive.PutBlob(ctx, hash, a.model, info.Size(), f)
}
