package queen

import (
	"cmp"
	"context"
	"net/http"
	"path/filepath"
	"slices"

	"github.com/labstack/echo/v4"

	"rbee/core"
	"rbee/core/api"
	"rbee/inference/gguf"
	"rbee/registry"
)

// has are the models of a hive: as it has reported them, or as it says now. One that
// does not answer has none.
func (q *queen) has(ctx context.Context, l *link) map[core.ModelRef]registry.Model {
	if h, joined := q.hives.OfNode(l.node); joined {
		return h.Models
	}
	ctx, cancel := context.WithTimeout(ctx, glance)
	defer cancel()
	list, _ := l.hive.Models(ctx)
	return known(list.Models)
}

// among is the model that a reference stands for on a hive that has these.
func among(ref core.ModelRef, there map[core.ModelRef]registry.Model) (core.ModelRef, bool) {
	if ref == core.Embedded {
		return ref, true
	}
	return ref.Among(func(one core.ModelRef) bool { _, ok := there[one]; return ok })
}

// source finds another node that has a model whole, for the hive of to to copy it. A
// hive of this machine comes first. but are nodes from which that has just failed.
func (q *queen) source(ctx context.Context, to core.NodeName, ref core.ModelRef, but []core.NodeName) (api.Copy, bool) {
	links := q.fleet.up()
	slices.SortStableFunc(links, func(a, b *link) int { return cmp.Compare(far(a), far(b)) })
	for _, l := range links {
		if l.node == to || slices.Contains(but, l.node) {
			continue
		}
		there := q.has(ctx, l)
		one, ok := among(ref, there)
		if m := there[one]; ok && m.Whole() {
			return copyOf(one, m, l.node), true
		}
	}
	return api.Copy{}, false
}

// far puts a hive of this machine before others.
func far(l *link) int {
	if l.bulk == nil {
		return 0
	}
	return 1
}

func copyOf(ref core.ModelRef, m registry.Model, from core.NodeName) api.Copy {
	c := api.Copy{ModelRef: ref, Revision: m.Revision, From: from}
	for _, f := range m.Files {
		c.Files = append(c.Files, api.ModelFile{Name: f.Name, SizeBytes: f.Size, SHA256: f.SHA256})
	}
	return c
}

// sources is GET /v2/models/sources?model=&node=: who has a model, for the hive of a
// node that wants to copy it.
func (q *queen) sources(c echo.Context) error {
	ctx := c.Request().Context()
	ref, err := q.resolve(ctx, core.ModelRef(c.QueryParam("model")))
	if err != nil {
		return err
	}
	found, ok := q.source(ctx, core.NodeName(c.QueryParam("node")), ref, nil)
	if !ok {
		return &core.Fault{Kind: core.ModelNotFound, What: "no hive has model " + string(ref)}
	}
	return c.JSON(http.StatusOK, found)
}

// own describes a file of this machine, with all its parts, for another to copy it.
func (q *queen) own(ctx context.Context, ref core.ModelRef, path string) (api.Copy, error) {
	c := api.Copy{ModelRef: ref, From: core.Localhost}
	for _, part := range gguf.Parts(path) {
		hash, err := q.hashes.of(ctx, part)
		if err != nil {
			return c, err
		}
		info, err := stat(part)
		if err != nil {
			return c, err
		}
		c.Files = append(c.Files, api.ModelFile{Name: filepath.Base(part), SizeBytes: info.Size(), SHA256: hash})
	}
	return c, nil
}

// sameFiles tells whether a model is of just these files.
func sameFiles(m registry.Model, c api.Copy) bool {
	return slices.EqualFunc(m.Files, c.Files, func(f registry.File, g api.ModelFile) bool { return f.SHA256 == g.SHA256 })
}
