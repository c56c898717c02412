package hive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"rbee/catalog"
	"rbee/catalog/fetch"
	"rbee/core"
	"rbee/core/api"
	"rbee/core/client"
	"rbee/core/lease"
	"rbee/core/pull"
)

// checkCopy refuses what cannot be copied safely: without hashes nobody knows what
// comes, and our token is for a queen's tunnel on this machine only.
func checkCopy(c api.Copy) error {
	if c.ModelRef == "" || len(c.Files) == 0 {
		return &core.Fault{Kind: core.Invalid, What: "a copy needs model_ref and files"}
	}
	for _, f := range c.Files {
		if err := catalog.CheckHash(f.SHA256); err != nil {
			return err
		}
		if f.SizeBytes <= 0 {
			return &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("file %.80q of a copy has no size", f.Name)}
		}
	}
	if c.URL == "" {
		return nil
	}
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "http" || !net.ParseIP(u.Hostname()).IsLoopback() {
		return &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("url %.80q of a copy: want http://127.0.0.1:PORT", c.URL)}
	}
	return nil
}

// holder is who holds the lease of that id, or the hive itself.
func (h *hive) holder(leaseID string) (lease.Boot, error) {
	if leaseID != "" {
		return h.nursery.lease(leaseID)
	}
	if b, gone := h.d.Holder(); gone != nil {
		return b, nil
	}
	return h.d.Boot, nil
}

// elsewhere asks the queen which other node has a model.
func (h *hive) elsewhere(ctx context.Context, r api.DownloadRequest) (api.Copy, bool) {
	boot, err := h.holder(r.LeaseID)
	if err != nil || boot.QueenURL == "" {
		return api.Copy{}, false
	}
	queen := client.New(boot.QueenURL, client.Options{Token: boot.Token})
	defer queen.Close()
	c, err := queen.Sources(ctx, r.ModelRef, core.NodeName(boot.Node))
	if err != nil && !errors.Is(err, core.ModelNotFound) {
		h.d.Log.Debug("the queen does not say who has a model", "model", string(r.ModelRef), "error", err.Error())
	}
	return c, err == nil && checkCopy(c) == nil
}

// copyFrom fetches a model from another node, through the queen.
func (h *hive) copyFrom(ctx context.Context, p *pull.Pull, r api.DownloadRequest, c api.Copy) (catalog.Model, error) {
	boot, err := h.holder(r.LeaseID)
	if err != nil {
		return catalog.Model{}, err
	}
	at := cmp.Or(c.URL, boot.QueenURL)
	if at == "" {
		return catalog.Model{}, &core.Fault{Kind: core.DownloadFailed, What: "this hive has no queen to copy a model through"}
	}
	queen := client.New(at, client.Options{Token: boot.Token})
	defer queen.Close()
	plan := fetch.Plan{Ref: c.ModelRef, Revision: c.Revision, From: string(c.From)}
	for _, f := range c.Files {
		plan.Files = append(plan.Files, fetch.File{
			Name: f.Name, Size: f.SizeBytes, SHA256: f.SHA256,
			Source: func(ctx context.Context) (*http.Request, error) { return queen.BlobRequest(ctx, f.SHA256, c.From) },
		})
	}
	return h.fetch(ctx, p, plan, catalog.Copied)
}
