package queen

import (
	"context"
	"errors"
	"sync"

	"github.com/labstack/echo/v4"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/serve"
)

// verifyModels is POST /v2/models/verify: all nodes at once.
func (q *queen) verifyModels(c echo.Context) error {
	var r api.VerifyRequest
	if _, err := serve.OptionalBody(c, &r); err != nil {
		return err
	}
	links, err := q.nodes(c, r.Node)
	if err != nil {
		return err
	}
	var ref core.ModelRef
	if r.Model != "" {
		if ref, err = q.named(r.Model); err != nil {
			return err
		}
	}
	var asked []verifying
	for _, l := range links {
		one, ok := among(ref, q.has(c.Request().Context(), l))
		if ref == "" || ok {
			asked = append(asked, verifying{l, one})
		}
	}
	if len(asked) == 0 && ref != "" {
		return nowhere(ref)
	}
	return serve.Stages(c, func(ctx context.Context, send func(api.VerifyStage) error) error { return verifyAll(ctx, asked, send) })
}

// A verifying is a model that a node verifies; an empty one is all.
type verifying struct {
	l     *link
	model core.ModelRef
}

// verifyAll passes the stages of all on as they come.
func verifyAll(ctx context.Context, asked []verifying, send func(api.VerifyStage) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stages := make(chan api.VerifyStage)
	var all sync.WaitGroup
	for _, v := range asked {
		all.Go(func() { v.run(ctx, stages) })
	}
	go func() { all.Wait(); close(stages) }() // ends with them
	var failed error
	for s := range stages {
		if failed == nil {
			if failed = send(s); failed != nil {
				cancel()
			}
		}
	}
	return errors.Join(failed, ctx.Err())
}

// run verifies on one node. That it could not is a stage, too.
func (v verifying) run(ctx context.Context, stages chan<- api.VerifyStage) {
	for stage, err := range v.l.hive.HiveVerify(ctx, api.VerifyRequest{Model: v.model}) {
		switch {
		case err != nil:
			stage = &api.VerifyStage{Stage: api.VerifyFailed, ModelRef: v.model, Error: core.Public(err).Error()}
		case stage == nil:
			continue
		}
		stage.Node = v.l.node
		stages <- *stage
	}
}
