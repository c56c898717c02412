package queen

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"

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

// showModel is GET /v2/models/{ref}?node=: a model as each node that has it says it.
func (q *queen) showModel(c echo.Context) error {
	links, ref, err := q.owners(c)
	if err != nil {
		return err
	}
	out := api.Models{Models: []api.Model{}}
	for _, l := range links {
		one, ok := among(ref, q.has(c.Request().Context(), l))
		if !ok {
			continue
		}
		m, err := l.hive.HiveModel(c.Request().Context(), one)
		if err == nil {
			m.Node = l.node
			out.Models = append(out.Models, m)
		}
	}
	if len(out.Models) == 0 {
		return nowhere(ref)
	}
	return c.JSON(http.StatusOK, out)
}

// owners are the nodes of a request about a model of its path, and the model.
func (q *queen) owners(c echo.Context) ([]*link, core.ModelRef, error) {
	text, err := serve.PathParam(c, "ref")
	if err != nil {
		return nil, "", err
	}
	ref, err := q.named(core.ModelRef(text))
	if err != nil {
		return nil, "", err
	}
	links, err := q.nodes(c, core.NodeName(c.QueryParam("node")))
	return links, ref, err
}

// nodes are all that are up, or the one that is named, whose hive is started if it has
// to be. The queen of one command has none before that: hers is this machine's.
func (q *queen) nodes(c echo.Context, only core.NodeName) ([]*link, error) {
	all := q.fleet.up()
	if only == "" && (len(all) > 0 || q.d.Mode == core.Persistent) {
		return all, nil
	}
	only = cmp.Or(only, core.Localhost)
	if i := slices.IndexFunc(all, func(l *link) bool { return l.node == only }); i >= 0 {
		return all[i : i+1], nil
	}
	ctx, done, err := q.tasks.call(c.Request().Context())
	if err != nil {
		return nil, err
	}
	defer done()
	l, err := q.fleet.Ensure(ctx, only, func(api.Event) {})
	if err != nil {
		return nil, fail(c, err)
	}
	return []*link{l}, nil
}

func nowhere(ref core.ModelRef) error {
	return &core.Fault{Kind: core.ModelNotFound, What: fmt.Sprintf("no node has model %s", ref), Try: "rbee model list; rbee model pull " + string(ref)}
}

// removeModel is DELETE /v2/models/{ref}?node=: from every node that has it.
func (q *queen) removeModel(c echo.Context) error {
	links, ref, err := q.owners(c)
	switch {
	case err != nil:
		return err
	case ref == core.Embedded:
		return &core.Fault{Kind: core.Invalid, What: "the embedded model is in the program itself", Try: "rbee model list"}
	}
	out := api.Removed{Nodes: []core.NodeName{}}
	for _, l := range links {
		one, ok := among(ref, q.has(c.Request().Context(), l))
		if !ok {
			continue
		}
		if err := l.hive.HiveRemoveModel(c.Request().Context(), one); err != nil {
			out.Errors = append(out.Errors, nodeError(l, err))
			continue
		}
		out.Nodes = append(out.Nodes, l.node)
	}
	if len(out.Nodes)+len(out.Errors) == 0 {
		return nowhere(ref)
	}
	return c.JSON(http.StatusOK, out)
}

func nodeError(l *link, err error) api.NodeError {
	f := core.FaultOf(core.Public(err))
	return api.NodeError{Node: l.node, Code: f.Kind, Error: f.What, Try: f.Try}
}

// collect is POST /v2/models/gc.
func (q *queen) collectModels(c echo.Context) error {
	var r api.CollectRequest
	if _, err := serve.OptionalBody(c, &r); err != nil {
		return err
	}
	links, err := q.nodes(c, r.Node)
	if err != nil {
		return err
	}
	out := api.Collection{Removed: []api.Collected{}}
	for _, l := range links {
		one, err := l.hive.HiveCollect(c.Request().Context(), r)
		if err != nil {
			out.Errors = append(out.Errors, nodeError(l, err))
		}
		for _, removed := range one.Removed {
			removed.Node = l.node
			out.Removed = append(out.Removed, removed)
		}
	}
	return c.JSON(http.StatusOK, out)
}

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
