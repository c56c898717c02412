package queen

import (
	"context"
	"encoding/json"
	"slices"
	"sync"

	"github.com/labstack/echo/v4"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/serve"
)

// postBench is POST /v2/bench: a model is measured where it would run, or on every
// node of the pool at once. A node that fails has a line of its own.
func (q *queen) postBench(c echo.Context) error {
	var r api.PoolBenchRequest
	if err := serve.Body(c, &r); err != nil {
		return err
	}
	if err := r.Validate(); err != nil {
		return err
	}
	var err error
	if r.Model, err = q.resolve(c.Request().Context(), r.Model); err != nil {
		return err
	}
	ctx, done, err := q.tasks.call(c.Request().Context())
	if err != nil {
		return err
	}
	defer done()
	return serve.Lines(c, api.MIMELines, func(_ context.Context, line func([]byte) error) error {
		var one sync.Mutex // of the lines of several nodes
		var all sync.WaitGroup
		for _, node := range q.benched(ctx, r) {
			all.Go(func() {
				q.benchNode(ctx, node, r, func(l api.BenchLine) error {
					one.Lock()
					defer one.Unlock()
					l.Node = node
					b, err := json.Marshal(l)
					if err != nil {
						return err
					}
					return line(b)
				})
			})
		}
		all.Wait()
		return nil
	})
}

// benched are the nodes that a measurement is for.
func (q *queen) benched(ctx context.Context, r api.PoolBenchRequest) []core.NodeName {
	if !r.AllNodes {
		return []core.NodeName{q.place(ctx, wantOf(&api.TaskRequest{Model: r.Model, Node: r.Node}))}
	}
	nodes := slices.Clone(q.fleet.pool)
	for _, l := range q.fleet.up() {
		nodes = append(nodes, l.node)
	}
	slices.Sort(nodes)
	return slices.Compact(nodes)
}

// benchNode brings the node's hive up, gives it the model, and passes on what it says.
func (q *queen) benchNode(ctx context.Context, node core.NodeName, r api.PoolBenchRequest, say func(api.BenchLine) error) {
	narrate := func(ev api.Event) {
		if n, ok := ev.(*api.Narration); ok {
			_ = say(api.BenchLine{Narration: n}) // a reader who is gone ends ctx
		}
	}
	l, err := q.fleet.Ensure(ctx, node, narrate)
	var model core.ModelRef
	if err == nil {
		model, err = q.provide(ctx, l, wantOf(&api.TaskRequest{Model: r.Model, Node: node}), told(narrate))
	}
	if err == nil {
		err = l.hive.Bench(ctx, api.BenchRequest{Tests: r.Tests, ModelRef: model, LeaseID: l.lease}, say)
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = say(api.FailedBench(err))
	}
}
