package hive

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"rbee/catalog"
	"rbee/core"
	"rbee/core/api"
	"rbee/core/serve"
)

// verifyModels is POST /v1/models/verify: the files of one model, or of all, are read
// and hashed anew.
func (h *hive) verifyModels(c echo.Context) error {
	var r api.VerifyRequest
	if _, err := serve.OptionalBody(c, &r); err != nil {
		return err
	}
	all, err := h.catalog.List(c.Request().Context())
	if err != nil {
		return err
	}
	if r.Model != "" {
		if all, err = h.only(all, r.Model); err != nil {
			return err
		}
	}
	defer h.report.changed()
	return serve.Stages(c, func(ctx context.Context, send func(api.VerifyStage) error) error {
		for _, m := range all {
			if err := h.verify(ctx, m, send); err != nil {
				return err
			}
		}
		return nil
	})
}

// only is the model of a list that a name stands for.
func (h *hive) only(all []catalog.Model, name core.ModelRef) ([]catalog.Model, error) {
	ref, err := h.ref(name)
	if err != nil {
		return nil, err
	}
	at := func(one core.ModelRef) int {
		return slices.IndexFunc(all, func(m catalog.Model) bool { return m.Ref == one })
	}
	one, ok := ref.Among(func(one core.ModelRef) bool { return at(one) >= 0 })
	if !ok {
		return nil, &core.Fault{Kind: core.ModelNotFound, What: fmt.Sprintf("model %s is not on this machine", ref), Try: "rbee model list"}
	}
	return all[at(one) : at(one)+1], nil
}

// verify sends the stages of one model.
func (h *hive) verify(ctx context.Context, m catalog.Model, send func(api.VerifyStage) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := api.VerifyStage{Stage: api.VerifyReading, ModelRef: m.Ref, Total: m.Size}
	var last time.Time
	verdict, err := h.catalog.Verify(ctx, m.Ref, func(done, total int64) {
		if s.Done, s.Total = done, total; time.Since(last) >= telling {
			last = time.Now()
			if err := send(s); err != nil {
				cancel(err) // nobody reads
			}
		}
	})
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		s.Stage, s.Error = api.VerifyFailed, core.Public(err).Error()
	case len(verdict.Wrong) > 0:
		s.Stage, s.Error = api.VerifyDamaged, damage(verdict.Wrong[0])
	default:
		s.Stage = api.VerifyGood
	}
	return send(s)
}

// damage says what is wrong with a file.
func damage(w catalog.Wrong) string {
	what := fmt.Sprintf("%s has the hash %s, want %s", w.File.Path, w.Got, cmp.Or(w.File.Promised, w.File.SHA256))
	if w.Aside != "" {
		what += "; it was put aside as " + w.Aside
	}
	return what
}
