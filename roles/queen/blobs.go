package queen

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"

	"github.com/labstack/echo/v4"

	"rbee/core"
	"rbee/core/client"
)

// getBlob is GET /v1/blobs/{sha256}?node=, with ranges: a file of a model for a hive
// that copies it, our own or relayed from a hive that has it, that of the node first.
// A relay that breaks off is asked for again by the hive, and may lead elsewhere then.
func (q *queen) getBlob(c echo.Context) error {
	hash := c.Param("hash")
	if path, ok := q.hashes.path(hash); ok {
		return serveFile(c, path)
	}
	var failed error
	for _, l := range q.holders(c.Request().Context(), hash, core.NodeName(c.QueryParam("node"))) {
		begun, err := relayBlob(c, l, hash)
		if begun || err == nil {
			return err
		}
		failed = errors.Join(failed, err)
	}
	if failed != nil {
		return failed
	}
	return &core.Fault{Kind: core.ModelNotFound, What: fmt.Sprintf("no hive has a file with the hash %.80s", hash)}
}

// serveFile serves a file of this machine.
func serveFile(c echo.Context, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return &core.Fault{Kind: core.ModelNotFound, What: "the file of that hash is gone", Cause: err}
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("queen: blob: %w", err)
	}
	c.Response().Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(c.Response(), c.Request(), "", info.ModTime(), f)
	return nil
}

// holders are the hives that have a file, that of the node first.
func (q *queen) holders(ctx context.Context, hash string, first core.NodeName) (list []*link) {
	for _, l := range q.fleet.up() {
		for _, m := range q.has(ctx, l) {
			if m.Has(hash) {
				list = append(list, l)
				break
			}
		}
	}
	slices.SortStableFunc(list, func(a, b *link) int { return order(a.node != first, b.node != first) })
	return list
}

// order puts what is false first.
func order(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// relayBlob answers with a file of a hive. When the answer has begun, nobody else can
// be asked; a connection that breaks off then is what the reader sees, too.
func relayBlob(c echo.Context, l *link, hash string) (begun bool, err error) {
	hive, release, err := l.wide(c.Request().Context())
	if err != nil {
		return false, err
	}
	defer release()
	header := http.Header{}
	for _, name := range []string{"Range", "If-Range"} {
		if v := c.Request().Header.Get(name); v != "" {
			header.Set(name, v)
		}
	}
	resp, err := hive.Blob(c.Request().Context(), c.Request().Method, hash, header)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	out := c.Response()
	for _, name := range []string{"Content-Type", "Content-Length", "Content-Range", "Accept-Ranges", "Last-Modified"} {
		if v := resp.Header.Get(name); v != "" {
			out.Header().Set(name, v)
		}
	}
	out.WriteHeader(resp.StatusCode)
	_, err = io.Copy(out, resp.Body) // an answer that is too short is cut off, and seen to be
	return true, err
}

// wide is the link's hive over the connection for copies, and what lets go of it.
func (l *link) wide(ctx context.Context) (*client.Client, func(), error) {
	if l.bulk == nil {
		return l.hive, func() {}, nil
	}
	hive, _, release, err := l.bulk.use(ctx)
	return hive, release, err
}
