package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"rbee/core"
)

// FindHub returns the model that is here of a repository, revision and tag. Without a
// tag it is the first quantization of order that is here; without a revision it is
// what was fetched without one. So a model that is here needs no network. One in place
// that is wrong is not here: it can be fetched.
func (c *Catalog) FindHub(ctx context.Context, h core.Hub, order []string) (Model, error) {
	all, err := query(ctx, c.db, "WHERE m.repo = ? COLLATE NOCASE", h.Repo)
	if err != nil {
		return Model{}, fmt.Errorf("catalog: model %s: %w", h.Ref(), err)
	}
	tags := []string{h.Tag}
	if h.Tag == "" {
		tags = order
	}
	for _, tag := range tags {
		for _, m := range all {
			if !m.answers(core.Hub{Repo: h.Repo, Revision: h.Revision, Tag: tag}) {
				continue
			}
			if m, err := c.fresh(ctx, m); !errors.Is(err, core.ModelNotFound) && m.Wrong == "" {
				return m, err
			}
		}
	}
	return Model{}, notFound(h.Ref())
}

// answers tells whether a model is what a full reference asks for.
func (m Model) answers(h core.Hub) bool {
	has, ok := m.Ref.Hub()
	if !ok || has.Tag != h.Tag {
		return false
	}
	return has.Revision == h.Revision || isCommit(h.Revision) && strings.HasPrefix(m.Revision, h.Revision)
}

// leastCommit is the shortest beginning of a commit that names it.
const leastCommit = 7

func isCommit(text string) bool {
	return len(text) >= leastCommit && !slices.ContainsFunc([]byte(text), func(b byte) bool { return !strings.ContainsRune("0123456789abcdef", rune(b)) })
}
