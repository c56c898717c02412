package client

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"rbee/core"
	"rbee/core/api"
)

// Spawn starts a worker on a hive. It is loading when the call returns.
func (c *Client) Spawn(ctx context.Context, r api.SpawnRequest) (s api.Spawned, err error) {
	return s, c.call(ctx, http.MethodPost, "/v1/workers/spawn", r, &s)
}

// Workers lists a hive's workers.
func (c *Client) Workers(ctx context.Context) (w api.Workers, err error) {
	return w, c.call(ctx, http.MethodGet, "/v1/workers/list", nil, &w)
}

// DeleteWorker ends a worker and returns when it is gone.
func (c *Client) DeleteWorker(ctx context.Context, id core.WorkerID) error {
	return c.callIn(ctx, 3*c.o.Limit, http.MethodDelete, "/v1/workers/"+url.PathEscape(string(id)), nil, nil)
}

// RetireWorker ends a worker if nobody has used it for so long; else WORKER_BUSY.
func (c *Client) RetireWorker(ctx context.Context, id core.WorkerID, idle time.Duration) error {
	path := fmt.Sprintf("/v1/workers/%s?idle_ms=%d", url.PathEscape(string(id)), max(idle.Milliseconds(), 1))
	return c.callIn(ctx, 3*c.o.Limit, http.MethodDelete, path, nil, nil)
}

// Capabilities asks a hive what its machine has.
func (c *Client) Capabilities(ctx context.Context) (a api.Capabilities, err error) {
	return a, c.call(ctx, http.MethodGet, "/v1/capabilities", nil, &a)
}

// Models lists the models of a hive's catalog, or of a queen's pool.
func (c *Client) Models(ctx context.Context) (m api.Models, err error) {
	return m, c.call(ctx, http.MethodGet, "/v1/models", nil, &m)
}

// Needs asks a hive how much memory a model of its catalog takes.
func (c *Client) Needs(ctx context.Context, ref core.ModelRef, context, slots int) (n api.Needs, err error) {
	path := fmt.Sprintf("/v1/models/%s/needs?context=%d&slots=%d", url.PathEscape(string(ref)), context, slots)
	return n, c.call(ctx, http.MethodGet, path, nil, &n)
}

// Logs calls f with each of the last lines of a hive, or of one of its workers, and
// with follow with each that comes, until ctx is done.
func (c *Client) Logs(ctx context.Context, worker core.WorkerID, follow bool, f func(line []byte) error) error {
	return c.lines(ctx, http.MethodGet, "/v1/logs?"+logQuery("", worker, follow), nil, f)
}

// logQuery asks for logs.
func logQuery(node core.NodeName, worker core.WorkerID, follow bool) string {
	q := url.Values{}
	if node != "" {
		q.Set("node", string(node))
	}
	if worker != "" {
		q.Set("worker", string(worker))
	}
	if follow {
		q.Set("follow", "true")
	}
	return q.Encode()
}

// lines calls f with each line of an answer, until ctx is done.
func (c *Client) lines(ctx context.Context, method, path string, header http.Header, f func(line []byte) error) error {
	return c.linesOf(ctx, method, path, nil, header, f)
}

// linesOf is lines of a request with a body.
func (c *Client) linesOf(ctx context.Context, method, path string, body io.Reader, header http.Header, f func(line []byte) error) error {
	resp, err := c.send(ctx, method, path, body, header)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	in := bufio.NewScanner(resp.Body)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		if err := f(in.Bytes()); err != nil {
			return err
		}
	}
	if ctx.Err() != nil || in.Err() == nil {
		return nil
	}
	return fmt.Errorf("client: %w", because(ctx, in.Err()))
}

// HiveFound is Found for a hive's machine.
func (c *Client) HiveFound(ctx context.Context, from string) (f api.Found, err error) {
	return f, c.callIn(ctx, 3*c.o.Limit, http.MethodGet, "/v1/models/found?from="+url.QueryEscape(from), nil, &f)
}

// HiveImportFrom is HiveImport of a model that was found with another program.
func (c *Client) HiveImportFrom(ctx context.Context, path, from string) (m api.Model, err error) {
	return m, c.call(ctx, http.MethodPost, "/v1/models/import", api.ImportRequest{Path: path, From: from}, &m)
}

// HiveImport puts a file of the hive's machine into its catalog, in place.
func (c *Client) HiveImport(ctx context.Context, path string) (m api.Model, err error) {
	return m, c.call(ctx, http.MethodPost, "/v1/models/import", api.ImportRequest{Path: path}, &m)
}

// PutBlob copies size bytes with the given hash to a hive, and registers them as ref.
func (c *Client) PutBlob(ctx context.Context, sha256 string, ref core.ModelRef, size int64, body io.Reader) error {
	header := http.Header{"Content-Type": {"application/octet-stream"}, "X-Size": {strconv.FormatInt(size, 10)}}
	resp, err := c.send(ctx, http.MethodPut, "/v1/blobs/"+sha256+"?ref="+url.QueryEscape(string(ref)), body, header)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// Lease holds a hive that somebody else started: body carries the lines of a
// lease, and is closed with it. ctx is for the call until the hive has taken it; the lease itself lives
// until the returned stream is closed, and the end of the stream is the hive's.
func (c *Client) Lease(ctx context.Context, id string, body io.ReadCloser) (io.ReadCloser, error) {
	ctx, done := context.WithTimeoutCause(ctx, c.o.Limit, c.late(c.o.Limit))
	defer done()
	life, end := context.WithCancelCause(context.WithoutCancel(ctx))
	context.AfterFunc(life, func() { _ = body.Close() }) // the transport waits for the Read it is in
	taken := context.AfterFunc(ctx, func() { end(context.Cause(ctx)) })
	resp, err := c.send(life, http.MethodPost, "/v1/leases/"+url.PathEscape(id), body, nil)
	if err != nil {
		end(nil)
		return nil, err
	}
	if !taken() { // in the very last moment
		_ = resp.Body.Close()
		return nil, context.Cause(ctx)
	}
	return &leased{resp.Body, end}, nil
}

// leased ends the request with its answer: the body that is being sent, too.
type leased struct {
	io.ReadCloser
	end context.CancelCauseFunc
}

func (l *leased) Close() error {
	l.end(nil)
	return l.ReadCloser.Close()
}

// Ready asks a worker how far it is.
func (c *Client) Ready(ctx context.Context) (r api.Ready, err error) {
	return r, c.call(ctx, http.MethodGet, "/v1/ready", nil, &r)
}

// Progress yields a worker's load to its end. A nil stage is a sign of life.
func (c *Client) Progress(ctx context.Context) iter.Seq2[*api.LoadStage, error] {
	return stages[api.LoadStage](ctx, c, http.MethodGet, "/v1/loading/progress", nil)
}

// Execute asks a worker for an answer and yields its events. Breaking off ends it.
func (c *Client) Execute(ctx context.Context, r api.ExecuteRequest) iter.Seq2[api.Numbered, error] {
	return c.execute(ctx, r, api.Events)
}

// ExecuteSealed is Execute for who passes tokens on: each is an *api.Sealed.
func (c *Client) ExecuteSealed(ctx context.Context, r api.ExecuteRequest) iter.Seq2[api.Numbered, error] {
	return c.execute(ctx, r, api.SealedEvents)
}

// execute may be sent a second time where a kept connection turns out to be dead
// before anything has come back: the key, without a value, says so to the transport,
// and is not sent.
func (c *Client) execute(ctx context.Context, r api.ExecuteRequest, events reader) iter.Seq2[api.Numbered, error] {
	return c.stream(ctx, http.MethodPost, "/execute", r, http.Header{"Idempotency-Key": nil}, events)
}

// CancelJob ends an answer of a worker. One that is not there has ended.
func (c *Client) CancelJob(ctx context.Context, id core.TaskID) error {
	return c.call(ctx, http.MethodDelete, "/execute/"+url.PathEscape(string(id)), nil, nil)
}
