package queen

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/serve"
)

// listModels is GET /v2/models?node=.
func (q *queen) listModels(c echo.Context) error {
	only := core.NodeName(c.QueryParam("node"))
	if _, err := q.nodes(c, only); err != nil {
		return err
	}
	list := q.models(c.Request().Context())
	if only != "" {
		list = slices.DeleteFunc(list, func(m api.Model) bool { return m.Node != only })
	}
	return c.JSON(http.StatusOK, api.Models{Models: list})
}

// foundModels is GET /v2/models/found?from=: of this machine.
func (q *queen) foundModels(c echo.Context) error {
	links, err := q.nodes(c, core.Localhost)
	if err != nil {
		return err
	}
	found, err := links[0].hive.HiveFound(c.Request().Context(), c.QueryParam("from"))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, found)
}

// importModel is POST /v2/models/import: a file of this machine.
func (q *queen) importModel(c echo.Context) error {
	var r api.ImportRequest
	if err := serve.Body(c, &r); err != nil {
		return err
	}
	m, err := q.allow(r.Path)
	if err != nil {
		return err
	}
	if r.Keep {
		links, err := q.nodes(c, core.Localhost)
		if err != nil {
			return err
		}
		if m, err = links[0].hive.HiveImportFrom(c.Request().Context(), r.Path, r.From); err != nil {
			return err
		}
		m.Node = core.Localhost
	}
	return c.JSON(http.StatusOK, m)
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

// collectModels is POST /v2/models/gc: of all nodes, or the one that is named.
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
