package queen

import (
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
