package hive

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"rbee/catalog"
	"rbee/catalog/fetch"
	"rbee/catalog/stores"
	"rbee/core"
	"rbee/core/api"
	"rbee/core/config"
	"rbee/core/lease"
	"rbee/core/machine"
	"rbee/core/serve"
)

// hubs are the clients of hubs, by where they are and as whom we come, and what they
// have said a moment ago.
type hubs struct {
	mu    sync.Mutex // guards all below
	by    map[config.Hub]*fetch.Hub
	plans map[asked]planned
}

// asked is all that a plan depends on.
type asked struct {
	ref core.ModelRef
	use api.Use
	hub config.Hub
}

type planned struct {
	fetch.Plan

	at time.Time
}

// fresh is how long a plan is good for: who asks what a model needs fetches it next.
const fresh = time.Minute

// hubOf is the hub of a machine: its own environment says which, else the queen who
// holds the hive. A token goes to no other hub than the one beside which it stands.
func hubOf(own config.Hub, b lease.Boot) config.Hub {
	hers := config.Hub{Endpoint: b.HubEndpoint, Token: b.HubToken}
	switch {
	case own.Endpoint == "" && hers.Endpoint != "":
		return hers
	case own.Token == "" && own.Endpoint == hers.Endpoint:
		return hers
	}
	return own
}

// client is that of a hub.
func (h *hive) client(at config.Hub) (*fetch.Hub, error) {
	h.hubs.mu.Lock()
	defer h.hubs.mu.Unlock()
	if c := h.hubs.by[at]; c != nil {
		return c, nil
	}
	c, err := fetch.NewHub(fetch.HubOptions{Endpoint: at.Endpoint, Token: at.Token, Log: h.d.Log})
	if err != nil {
		return nil, err
	}
	if h.hubs.by == nil {
		h.hubs.by = map[config.Hub]*fetch.Hub{}
	}
	h.hubs.by[at] = c
	return c, nil
}

// hub is where a lease's models come from.
func (h *hive) hub(leaseID string) (*fetch.Hub, config.Hub, error) {
	boot, err := h.holder(leaseID)
	if err != nil {
		return nil, config.Hub{}, err
	}
	at := hubOf(h.d.Settings.Hub, boot)
	c, err := h.client(at)
	return c, at, err
}

// plan asks the hub which files a reference stands for on this machine.
func (h *hive) plan(ctx context.Context, ref core.Hub, use api.Use, leaseID string) (fetch.Plan, error) {
	hub, at, err := h.hub(leaseID)
	if err != nil {
		return fetch.Plan{}, err
	}
	key := asked{ref.Ref(), use, at}
	if p, ok := h.hubs.said(key); ok {
		return p, nil
	}
	p, err := hub.Resolve(ctx, ref, h.roomFor(use))
	if err == nil {
		h.hubs.keep(key, p)
	}
	return p, err
}

// roomFor is the memory that a model must fit into.
func (h *hive) roomFor(use api.Use) fetch.Room {
	total := machine.ReadMemory().Total
	if most := h.d.Settings.MemoryMax; most > 0 && (total == 0 || most < total) {
		total = most
	}
	return fetch.Room{Bytes: total, Context: use.ContextLength, Slots: use.Slots}
}

func (hs *hubs) said(key asked) (fetch.Plan, bool) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	p, ok := hs.plans[key]
	return p.Plan, ok && time.Since(p.at) < fresh
}

func (hs *hubs) keep(key asked, p fetch.Plan) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	const most = 1000
	if hs.plans == nil || len(hs.plans) > most {
		hs.plans = map[asked]planned{}
	}
	hs.plans[key] = planned{p, time.Now()}
}

// inPlace uses a model that another program has fetched, if it is the very same.
func (h *hive) inPlace(ctx context.Context, ref core.Hub, plan fetch.Plan) (catalog.Model, bool) {
	hashes := make([]string, len(plan.Files))
	for i, f := range plan.Files {
		hashes[i] = f.SHA256
	}
	for _, found := range stores.HuggingFace(os.Getenv, ref.Repo) {
		if found.Err != nil || !found.Has(hashes...) {
			continue
		}
		a := found.Addition()
		a.Ref, a.Revision = plan.Ref, plan.Revision
		if m, ok := h.addInPlace(ctx, a); ok {
			return m, true
		}
	}
	return catalog.Model{}, false
}

// offline finds what is here of a repository when why is that its hub cannot be asked:
// a model of the catalog in any quantization, or one that another program has fetched,
// as far as that program knows what it is. It returns why else.
func (h *hive) offline(ctx context.Context, ref core.Hub, why error) (m catalog.Model, note string, err error) {
	if !errors.Is(why, core.DownloadFailed) && !errors.Is(why, core.DownloadTimeout) {
		return m, "", why
	}
	m, ok := h.anyOf(ctx, ref)
	if !ok {
		m, ok = h.cached(ctx, ref)
	}
	if !ok {
		return m, "", why
	}
	return m, fmt.Sprintf("%s, which is here: the hub cannot be asked", m.Ref), nil
}

// anyOf finds a model of a repository in the catalog, whatever its quantization is,
// unless the reference says it.
func (h *hive) anyOf(ctx context.Context, ref core.Hub) (catalog.Model, bool) {
	all, err := h.catalog.List(ctx)
	if err != nil || ref.Tag != "" {
		return catalog.Model{}, false
	}
	var order []string
	for _, m := range all {
		if hub, ok := m.Ref.Hub(); ok && strings.EqualFold(hub.Repo, ref.Repo) {
			order = append(order, hub.Tag)
		}
	}
	m, err := h.catalog.FindHub(ctx, ref, order)
	return m, err == nil
}

// cached uses a model that another program has fetched.
func (h *hive) cached(ctx context.Context, ref core.Hub) (catalog.Model, bool) {
	for _, full := range ref.Ref().Choices() {
		want, _ := full.Hub()
		for _, found := range stores.HuggingFace(os.Getenv, ref.Repo) {
			if !found.Answers(want, core.Preferred) {
				continue
			}
			a := found.Addition()
			a.Ref = full
			if m, ok := h.addInPlace(ctx, a); ok {
				return m, true
			}
		}
	}
	return catalog.Model{}, false
}

func (h *hive) addInPlace(ctx context.Context, a catalog.Addition) (catalog.Model, bool) {
	m, err := h.catalog.AddInPlace(ctx, a)
	if err != nil {
		h.d.Log.Warn("a model in the cache of Hugging Face is not used", "model", string(a.Ref), "error", err.Error())
		return m, false
	}
	if m.SHA256 == "" {
		h.hashes.add(m)
	}
	h.report.changed()
	return m, true
}

// resolveModel is POST /v1/models/resolve: what would a download bring?
func (h *hive) resolveModel(c echo.Context) error {
	var r api.ResolveRequest
	if err := serve.Body(c, &r); err != nil {
		return err
	}
	ref, err := h.ref(r.ModelRef)
	if err != nil {
		return err
	}
	out, err := h.resolved(c.Request().Context(), ref, r.Use)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, out)
}

func (h *hive) resolved(ctx context.Context, ref core.ModelRef, use api.Use) (api.Resolved, error) {
	m, err := h.present(ctx, api.DownloadRequest{ModelRef: ref})
	if err == nil {
		return api.Resolved{ModelRef: m.Ref, OnDisk: true, SizeBytes: m.Size}, nil
	}
	hub, ok := ref.Hub()
	if !ok {
		return api.Resolved{}, err
	}
	plan, err := h.plan(ctx, hub, use, "")
	if err != nil {
		m, note, err := h.offline(ctx, hub, err)
		return api.Resolved{ModelRef: m.Ref, Note: note, OnDisk: err == nil, SizeBytes: m.Size}, err
	}
	return api.Resolved{ModelRef: plan.Ref, Note: plan.Note, From: plan.From, SizeBytes: sizeOf(plan), NeedsBytes: plan.Needs}, nil
}
