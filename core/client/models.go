package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"time"

	"rbee/core"
	"rbee/core/api"
)

// Pull has a queen bring a model to a node, and yields how far it is. A nil stage is
// a sign of life. The failed stage, the last of a pull that went wrong, comes with its
// error. Breaking off ends the pull, unless somebody else wants the model, too; what
// is there of it stays.
func (c *Client) Pull(ctx context.Context, r api.PullRequest) iter.Seq2[*api.PullStage, error] {
	return pulled(stages[api.PullStage](ctx, c, http.MethodPost, "/v2/models/pull", r))
}

// Download has a hive begin to download a model, or join the download that runs.
func (c *Client) Download(ctx context.Context, r api.DownloadRequest) (d api.DownloadID, err error) {
	return d, c.call(ctx, http.MethodPost, "/v1/models/download", r, &d)
}

// DownloadProgress yields how far a download of a hive is, as Pull does. Breaking off
// leaves it.
func (c *Client) DownloadProgress(ctx context.Context, id string) iter.Seq2[*api.PullStage, error] {
	return pulled(stages[api.PullStage](ctx, c, http.MethodGet, "/v1/models/download/progress?id="+url.QueryEscape(id), nil))
}

// CancelDownload ends a download of a hive, and leaves what is there for the next
// one. It is no error when it has ended.
func (c *Client) CancelDownload(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/v1/models/download/"+url.PathEscape(id), nil, nil)
}

// Resolve asks a hive what a reference stands for there. It may ask the hub.
func (c *Client) Resolve(ctx context.Context, r api.ResolveRequest) (m api.Resolved, err error) {
	return m, c.callIn(ctx, 6*c.o.Limit, http.MethodPost, "/v1/models/resolve", r, &m)
}

// Sources asks a queen which other node has a model, for that node to copy it.
func (c *Client) Sources(ctx context.Context, model core.ModelRef, node core.NodeName) (s api.Copy, err error) {
	q := url.Values{"model": {string(model)}, "node": {string(node)}}
	return s, c.call(ctx, http.MethodGet, "/v2/models/sources?"+q.Encode(), nil, &s)
}

// Show asks a queen for a model: one entry for each node that has it, or for the node
// alone if one is given. When none has it the error is core.ModelNotFound.
func (c *Client) Show(ctx context.Context, model core.ModelRef, node core.NodeName) (m api.Models, err error) {
	return m, c.callIn(ctx, most, http.MethodGet, ofNode("/v2/models/"+url.PathEscape(string(model)), node), nil, &m)
}

// HiveModel asks a hive for one model.
func (c *Client) HiveModel(ctx context.Context, ref core.ModelRef) (m api.Model, err error) {
	return m, c.call(ctx, http.MethodGet, "/v1/models/"+url.PathEscape(string(ref)), nil, &m)
}

// RemoveModel has a queen remove a model from every node that has it, or from the
// given one. A node whose worker uses it keeps it, and is among the errors of the answer.
func (c *Client) RemoveModel(ctx context.Context, model core.ModelRef, node core.NodeName) (r api.Removed, err error) {
	return r, c.callIn(ctx, most, http.MethodDelete, ofNode("/v2/models/"+url.PathEscape(string(model)), node), nil, &r)
}

// HiveRemoveModel has a hive remove a model. One that is not there is no error.
func (c *Client) HiveRemoveModel(ctx context.Context, ref core.ModelRef) error {
	return c.call(ctx, http.MethodDelete, "/v1/models/"+url.PathEscape(string(ref)), nil, nil)
}

// Verify has a queen's hives read and hash their models anew, and yields how far they
// are. A nil stage is a sign of life.
func (c *Client) Verify(ctx context.Context, r api.VerifyRequest) iter.Seq2[*api.VerifyStage, error] {
	return stages[api.VerifyStage](ctx, c, http.MethodPost, "/v2/models/verify", r)
}

// HiveVerify is Verify for one hive.
func (c *Client) HiveVerify(ctx context.Context, r api.VerifyRequest) iter.Seq2[*api.VerifyStage, error] {
	return stages[api.VerifyStage](ctx, c, http.MethodPost, "/v1/models/verify", r)
}

// Collect has a queen's hives remove what no model needs.
func (c *Client) Collect(ctx context.Context, r api.CollectRequest) (l api.Collection, err error) {
	return l, c.callIn(ctx, most, http.MethodPost, "/v2/models/gc", r, &l)
}

// HiveCollect is Collect for one hive.
func (c *Client) HiveCollect(ctx context.Context, r api.CollectRequest) (l api.Collection, err error) {
	return l, c.callIn(ctx, 5*c.o.Limit, http.MethodPost, "/v1/models/gc", r, &l)
}

// Blob asks a hive for a file of a model by its hash. header may ask for a range. The
// caller closes the body of the answer, which has no error status.
func (c *Client) Blob(ctx context.Context, method, sha256 string, header http.Header) (*http.Response, error) {
	return c.send(ctx, method, "/v1/blobs/"+url.PathEscape(sha256), nil, header)
}

// BlobRequest is the request of a hive to its queen for a file of a copy.
func (c *Client) BlobRequest(ctx context.Context, sha256 string, from core.NodeName) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+ofNode("/v1/blobs/"+url.PathEscape(sha256), from), nil)
	if err == nil && c.o.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.o.Token)
	}
	return req, err
}

// ofNode adds a node to a path, if there is one.
func ofNode(path string, node core.NodeName) string {
	if node == "" {
		return path
	}
	return path + "?node=" + url.QueryEscape(string(node))
}

// pulled gives the failed stage of a pull its error.
func pulled(all iter.Seq2[*api.PullStage, error]) iter.Seq2[*api.PullStage, error] {
	return func(yield func(*api.PullStage, error) bool) {
		for stage, err := range all {
			if stage != nil && err == nil {
				err = stage.Err()
			}
			if !yield(stage, err) || err != nil {
				return
			}
		}
	}
}

// silence is how long a stream of stages may say nothing: there are signs of life.
const silence = 2 * time.Minute

// stages yields the messages of a stream of progress. A nil one is a sign of life.
// The stream of a server that says nothing at all is broken off.
func stages[T any](ctx context.Context, c *Client, method, path string, in any) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		quiet := time.AfterFunc(silence, func() { cancel(c.late(silence)) })
		defer quiet.Stop()
		var body io.Reader
		var header http.Header
		var err error
		if in != nil {
			body, header, err = jsonBody(in)
		}
		var resp *http.Response
		if err == nil {
			resp, err = c.send(ctx, method, path, body, header)
		}
		if err != nil {
			yield(nil, err)
			return
		}
		defer resp.Body.Close()
		for f, err := range api.Frames(resp.Body) {
			quiet.Reset(silence)
			stage, err := stageOf[T](ctx, f, err)
			if !yield(stage, err) || err != nil {
				return
			}
		}
	}
}

// stageOf reads one message of a stream of progress.
func stageOf[T any](ctx context.Context, f api.Frame, err error) (*T, error) {
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, fmt.Errorf("client: %w: %w", core.NodeUnreachable, err)
	case len(f.Data) == 0:
		return nil, nil
	}
	stage := new(T)
	if err := json.Unmarshal(f.Data, stage); err != nil {
		return nil, fmt.Errorf("client: progress: %w", err)
	}
	return stage, nil
}
