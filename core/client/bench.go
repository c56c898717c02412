package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"rbee/core/api"
)

// Bench has a hive measure a model, and calls f with each line of the answer. Breaking
// off ends the measurement.
func (c *Client) Bench(ctx context.Context, r api.BenchRequest, f func(api.BenchLine) error) error {
	return c.bench(ctx, "/v1/bench", r, f)
}

// PoolBench has a queen measure a model on the nodes of her pool.
func (c *Client) PoolBench(ctx context.Context, r api.PoolBenchRequest, f func(api.BenchLine) error) error {
	return c.bench(ctx, "/v2/bench", r, f)
}

func (c *Client) bench(ctx context.Context, path string, r any, f func(api.BenchLine) error) error {
	body, header, err := jsonBody(r)
	if err != nil {
		return err
	}
	return c.linesOf(ctx, http.MethodPost, path, body, header, func(line []byte) error {
		var l api.BenchLine
		if err := json.Unmarshal(line, &l); err != nil {
			return fmt.Errorf("client: bench: %w", err)
		}
		return f(l)
	})
}
