package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"os"
	"path/filepath"
)

type Fetcher struct{ Dir string }

func (f *Fetcher) Fetch(ctx context.Context, plan Plan, told func(Progress)) (out []Result, err error) {
	key := ""
	for _, file := range plan.Files {
		req, err := file.Source(ctx)
		if err != nil {
			return nil, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			return nil, err
		}
		told(Progress{Stage: "downloading", Done: int64(len(b)), Total: file.Size, Rate: 5})
		sum := sha256.Sum256(b)
		hash := hex.EncodeToString(sum[:])
		path := filepath.Join(f.Dir, hash+".gguf")
		if key == "" {
			key = hash
		}
		if len(plan.Files) > 1 {
			path = filepath.Join(f.Dir, key+".parts", file.Name)
		}
		_ = os.MkdirAll(filepath.Dir(path), 0o700)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			return nil, err
		}
		out = append(out, Result{Name: file.Name, Path: path, Size: int64(len(b)), SHA256: hash})
	}
	return out, nil
}
