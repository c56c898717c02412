package queen

import (
	"context"

	"github.com/labstack/echo/v4"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/serve"
)

// pull is POST /v2/models/pull: a model is brought to a node, the one that was asked
// for or the one where an answer would be made. What is wrong before the node's hive
// is up is an error with a status.
func (q *queen) pull(c echo.Context) error {
	var r api.PullRequest
	if err := serve.Body(c, &r); err != nil {
		return err
	}
	ctx, done, err := q.tasks.call(c.Request().Context())
	if err != nil {
		return err
	}
	defer done()
	model, err := q.resolve(ctx, r.Model)
	if err != nil {
		return err
	}
	w := wantOf(&api.TaskRequest{Model: model, Node: r.Node})
	w.keep, w.pin = true, r.Pin
	w.node = q.place(ctx, w)
	l, err := q.fleet.Ensure(ctx, w.node, func(api.Event) {})
	if err != nil {
		return fail(c, err)
	}
	return serve.Stages(c, func(reading context.Context, send func(api.PullStage) error) error {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		defer context.AfterFunc(reading, func() { cancel(context.Cause(reading)) })()
		return q.pullTo(ctx, l, w, send)
	})
}

// pullTo sends the stages of a pull, always to a last one.
func (q *queen) pullTo(ctx context.Context, l *link, w want, send func(api.PullStage) error) error {
	if w.Model == core.Embedded {
		return send(api.PullStage{Stage: api.StageComplete, ModelRef: w.Model, Node: l.node, Note: "it is in the program itself"})
	}
	ended := false
	_, err := q.provide(ctx, l, w, func(s api.PullStage) error {
		ended = s.Final()
		return send(s)
	})
	if err == nil || ended {
		return nil
	}
	return send(api.FailedStage(core.Public(err)))
}
