package client

import (
	"context"
	"net/http"

	"rbee/core/api"
)

// ShutdownWith asks a worker to end under conditions. It returns when the end has
// begun, or was refused.
func (c *Client) ShutdownWith(ctx context.Context, r api.ShutdownRequest) error {
	return c.call(ctx, http.MethodPost, "/v1/shutdown", r, nil)
}
