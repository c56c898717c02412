package hive

import (
	"fmt"
	"net/http"
	"os"
	"strconv"

	"github.com/labstack/echo/v4"

	"rbee/core"
)

// getBlob is GET /v1/blobs/{sha256}, with ranges.
func (h *hive) getBlob(c echo.Context) error {
	blob, err := h.catalog.ByHash(c.Request().Context(), c.Param("hash"))
	if err != nil {
		return err
	}
	f, err := os.Open(blob.Path)
	if err != nil {
		return &core.Fault{Kind: core.ModelNotFound, What: "the file of that hash is gone", Cause: err}
	}
	defer f.Close()
	c.Response().Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(c.Response(), c.Request(), "", blob.Modified, f)
	return nil
}

// putBlob is PUT /v1/blobs/{sha256}?ref=: a model of another machine is copied here.
func (h *hive) putBlob(c echo.Context) error {
	ref, err := core.ParseModelRef(c.QueryParam("ref"))
	if err != nil {
		return err
	}
	if _, ok := ref.Path(); !ok {
		return &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("ref %s: want file:PATH", ref)}
	}
	r := c.Request()
	size := r.ContentLength
	if n, err := strconv.ParseInt(r.Header.Get("X-Size"), 10, 64); err == nil && size < 0 {
		size = n
	}
	defer h.report.changed()
	m, err := h.catalog.PutBlob(r.Context(), c.Param("hash"), ref, size, r.Body)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusCreated, h.wire(m))
}
