// Package client is the SDK for the wire of package api: calls to a queen, a hive
// or a worker, with answers as Go values and errors that carry their core.Kind.
//
//	queen := client.New("http://127.0.0.1:8080", client.Options{Token: token})
//	for ev, err := range queen.Task(ctx, api.TaskRequest{Prompt: &text}) { … }
package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"rbee/core"
	"rbee/core/api"
)

// Options are how to reach a server. The zero value does for a local one.
type Options struct {
	Token       string
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error) // nil: directly
	Limit       time.Duration                                                     // of a call that does not stream; 0: 10 s
}

// A Trace is what a request carries on to whatever is called for its sake.
type Trace struct {
	Correlation string
	Parent      string    // traceparent
	Deadline    time.Time // zero: none
}

type traceKey struct{}

// WithTrace returns a context whose calls carry t.
func WithTrace(ctx context.Context, t Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// headers sets what the context of a call carries.
func (t Trace) headers(h http.Header) {
	if t.Correlation != "" {
		h.Set(api.HeaderCorrelation, t.Correlation)
	}
	if t.Parent != "" {
		h.Set(api.HeaderParent, t.Parent)
	}
	if !t.Deadline.IsZero() {
		h.Set(api.HeaderDeadline, strconv.FormatInt(t.Deadline.UnixMilli(), 10))
	}
}

// A Client calls one server. Its methods may be called at once.
type Client struct {
	base string
	o    Options
	http *http.Client
}

// New returns a client for the server at base, "http://host:port".
func New(base string, o Options) *Client {
	dial := o.DialContext
	if dial == nil {
		dial = (&net.Dialer{Timeout: 5 * time.Second}).DialContext
	}
	// No proxy: these are machines of one's own. No time limit: answers stream.
	t := &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 128, IdleConnTimeout: 30 * time.Second, DisableCompression: true}
	o.Limit = cmp.Or(o.Limit, 10*time.Second)
	return &Client{strings.TrimSuffix(base, "/"), o, &http.Client{Transport: t}}
}

// At returns a client for another server by the same way: they share connections,
// and Close of one is Close of both.
func (c *Client) At(base, token string) *Client {
	o := c.o
	o.Token = token
	return &Client{strings.TrimSuffix(base, "/"), o, c.http}
}

// URL is where the server is.
func (c *Client) URL() string { return c.base }

// Close drops the connections that are not in use.
func (c *Client) Close() { c.http.CloseIdleConnections() }

const health = "/health"

// send makes a request. The caller closes the body of an answer without error. A
// server that cannot be reached, or breaks off, is core.NodeUnreachable.
func (c *Client) send(ctx context.Context, method, path string, body io.Reader, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	maps.Copy(req.Header, header)
	if c.o.Token != "" && path != health { // who it is comes before it is trusted
		req.Header.Set("Authorization", "Bearer "+c.o.Token)
	}
	trace, _ := ctx.Value(traceKey{}).(Trace)
	trace.headers(req.Header)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("client: %w", because(ctx, trim(err)))
	}
	if err := api.ErrorOf(resp); err != nil {
		_ = resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

// because says why a call failed: its context, or else the way to the server.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("%w: %w", core.NodeUnreachable, err)
}

// trim takes the method and URL off a transport's error, but not the cause.
func trim(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

func jsonBody(v any) (io.Reader, http.Header, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, nil, fmt.Errorf("client: %w", err)
	}
	return bytes.NewReader(b), http.Header{"Content-Type": {"application/json"}}, nil
}

// call sends in, if it is not nil, and reads the answer into out, if that is not
// nil. It ends within the limit, whatever the server does.
func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	return c.callIn(ctx, c.o.Limit, method, path, in, out)
}

func (c *Client) callIn(ctx context.Context, limit time.Duration, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, c.late(limit))
	defer cancel()
	var body io.Reader
	var header http.Header
	if in != nil {
		var err error
		if body, header, err = jsonBody(in); err != nil {
			return err
		}
	}
	resp, err := c.send(ctx, method, path, body, header)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)) // so that the connection can be used again
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<20)).Decode(out); err != nil {
		return fmt.Errorf("client: %s %s: %w", method, path, because(ctx, err))
	}
	return nil
}

// late is the cause of a call that took too long.
func (c *Client) late(limit time.Duration) error {
	return &core.Fault{Kind: core.ConnectionTimeout, What: fmt.Sprintf("%s does not answer in %v", c.base, limit)}
}

// A reader makes events of an answer's body.
type reader func(io.Reader) iter.Seq2[api.Numbered, error]

// stream sends in and yields the events of the answer.
func (c *Client) stream(ctx context.Context, method, path string, in any, header http.Header, events reader) iter.Seq2[api.Numbered, error] {
	return func(yield func(api.Numbered, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel() // a reader who breaks off ends the request
		var body io.Reader
		if in != nil {
			b, h, err := jsonBody(in)
			if err != nil {
				yield(api.Numbered{}, err)
				return
			}
			maps.Copy(h, header)
			body, header = b, h
		}
		resp, err := c.send(ctx, method, path, body, header)
		if err != nil {
			yield(api.Numbered{}, err)
			return
		}
		defer resp.Body.Close()
		for ev, err := range events(resp.Body) {
			if !yield(ev, err) {
				return
			}
		}
		_, _ = resp.Body.Read(make([]byte, 1)) // the end, so that the connection can be used again
	}
}

// Health asks who the server is. It needs no token and sends none.
func (c *Client) Health(ctx context.Context) (h api.Health, err error) {
	return h, c.call(ctx, http.MethodGet, health, nil, &h)
}

// Shutdown asks a hive or a worker to end. It returns when that has begun.
func (c *Client) Shutdown(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/v1/shutdown", struct{}{}, nil)
}

// WorkerReady tells a hive that its worker is loaded.
func (c *Client) WorkerReady(ctx context.Context, node core.NodeName, r api.WorkerReady) error {
	return c.ready(ctx, "/v1/workers/ready", node, r)
}

// HiveWorkerReady tells a queen that a worker of a node is loaded.
func (c *Client) HiveWorkerReady(ctx context.Context, node core.NodeName, r api.WorkerReady) error {
	return c.ready(ctx, "/v1/orchestrator/worker-ready", node, r)
}

func (c *Client) ready(ctx context.Context, path string, node core.NodeName, r api.WorkerReady) error {
	body, header, err := jsonBody(r)
	if err != nil {
		return err
	}
	header.Set(api.HeaderNode, string(node))
	ctx, cancel := context.WithTimeoutCause(ctx, c.o.Limit, c.late(c.o.Limit))
	defer cancel()
	resp, err := c.send(ctx, http.MethodPost, path, body, header)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
