package client

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"rbee/core"
	"rbee/core/api"
)

// most is how long a call may take for which the queen has limits of her own, such
// as one that starts a hive, or fetches a model first.
const most = 24 * time.Hour

// Task asks a queen for an answer and yields its events as they come. A stream
// that is cut off yields api.ErrStreamCut. Breaking off leaves the task.
func (c *Client) Task(ctx context.Context, r api.TaskRequest) iter.Seq2[api.Numbered, error] {
	return c.stream(ctx, http.MethodPost, "/v2/tasks", r, nil, api.Events)
}

// TaskEvents yields the events of a task again, those after the one with id last.
func (c *Client) TaskEvents(ctx context.Context, id core.TaskID, last int64) iter.Seq2[api.Numbered, error] {
	return c.stream(ctx, http.MethodGet, "/v2/tasks/"+url.PathEscape(string(id))+"/events", nil,
		http.Header{"Last-Event-Id": {strconv.FormatInt(last, 10)}}, api.Events)
}

// CancelTask ends a task. One that is not there has ended.
func (c *Client) CancelTask(ctx context.Context, id core.TaskID) error {
	return c.call(ctx, http.MethodDelete, "/v2/tasks/"+url.PathEscape(string(id)), nil, nil)
}

// Tasks lists the tasks of a queen.
func (c *Client) Tasks(ctx context.Context) (t api.Tasks, err error) {
	return t, c.call(ctx, http.MethodGet, "/v2/tasks", nil, &t)
}

// Hives lists the hives of a queen.
func (c *Client) Hives(ctx context.Context) (h api.Hives, err error) {
	return h, c.call(ctx, http.MethodGet, "/v2/hives", nil, &h)
}

// QueenWorkers lists the workers of a queen's hives.
func (c *Client) QueenWorkers(ctx context.Context) (w api.Workers, err error) {
	return w, c.call(ctx, http.MethodGet, "/v2/workers", nil, &w)
}

// Import lets tasks name a file of the queen's machine as "file:PATH".
func (c *Client) Import(ctx context.Context, path string) (m api.Model, err error) {
	return m, c.call(ctx, http.MethodPost, "/v2/models/import", api.ImportRequest{Path: path}, &m)
}

// ImportKept is Import that also puts the file into the catalog of the queen's machine,
// where it stays. From is the program of a model that was found, else empty.
func (c *Client) ImportKept(ctx context.Context, path, from string) (m api.Model, err error) {
	return m, c.callIn(ctx, most, http.MethodPost, "/v2/models/import", api.ImportRequest{Path: path, From: from, Keep: true}, &m)
}

// Found lists the models that other programs keep on the queen's machine: "huggingface",
// "ollama", "lmstudio", or "all".
func (c *Client) Found(ctx context.Context, from string) (f api.Found, err error) {
	return f, c.callIn(ctx, most, http.MethodGet, "/v2/models/found?from="+url.QueryEscape(from), nil, &f)
}

// PoolModels lists the models of a queen's hives, or of one node, whose hive is started
// if it has to be.
func (c *Client) PoolModels(ctx context.Context, node core.NodeName) (m api.Models, err error) {
	return m, c.callIn(ctx, most, http.MethodGet, ofNode("/v2/models", node), nil, &m)
}

// Join tells a queen all of a hive.
func (c *Client) Join(ctx context.Context, r api.Report) (j api.Joined, err error) {
	return j, c.call(ctx, http.MethodPost, "/v2/hives/join", r, &j)
}

// Heartbeat tells a queen what has changed of a hive that has joined.
func (c *Client) Heartbeat(ctx context.Context, r api.Report) (j api.Joined, err error) {
	return j, c.call(ctx, http.MethodPost, "/v2/hives/"+url.PathEscape(r.ID)+"/heartbeat", r, &j)
}

// Where asks a queen for the places of a model, the best first.
func (c *Client) Where(ctx context.Context, q url.Values) (l api.Candidates, err error) {
	return l, c.call(ctx, http.MethodGet, "/v2/where?"+q.Encode(), nil, &l)
}

// Load has a queen load a model ahead of need, and returns its worker when it is ready.
func (c *Client) Load(ctx context.Context, r api.LoadRequest) (w api.Worker, err error) {
	return w, c.callIn(ctx, most, http.MethodPost, "/v2/workers", r, &w)
}

// Unload ends a worker of a queen's pool: only one that is not in use, unless busy.
func (c *Client) Unload(ctx context.Context, id core.WorkerID, busy bool) error {
	path := "/v2/workers/" + url.PathEscape(string(id))
	if !busy {
		path += "?idle_ms=1"
	}
	return c.callIn(ctx, 3*c.o.Limit, http.MethodDelete, path, nil, nil)
}

// PoolLogs is Logs for a queen: of herself and what she has started, of a node's
// hive, or of one worker.
func (c *Client) PoolLogs(ctx context.Context, node core.NodeName, worker core.WorkerID, follow bool, f func(line []byte) error) error {
	return c.lines(ctx, http.MethodGet, "/v2/logs?"+logQuery(node, worker, follow), nil, f)
}

// Stop ends a queen and her pool, and calls f with what she says of each hive.
func (c *Client) Stop(ctx context.Context, f func(api.Ended)) error {
	return c.lines(ctx, http.MethodPost, "/v1/shutdown", http.Header{"Accept": {api.MIMELines}}, func(line []byte) error {
		var e api.Ended
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("client: stop: %w", err)
		}
		f(e)
		return nil
	})
}

// Restart has a queen execute her program anew. It returns before she does.
func (c *Client) Restart(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/v1/restart", nil, nil)
}
