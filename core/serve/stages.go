package serve

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"rbee/core/api"
)

// alive is after how long without a stage a comment is written.
const alive = 5 * time.Second

// Stages answers with a stream of progress: run calls send with each stage, and
// returns when there is nothing more to say. It ends early when send fails or its
// context is done: the reader is gone then.
func Stages[T any](c echo.Context, run func(ctx context.Context, send func(T) error) error) error {
	out := api.NewStream(c.Response())
	ctx, cancel := context.WithCancel(c.Request().Context())
	var beating sync.WaitGroup
	defer beating.Wait()
	defer cancel()
	beating.Go(func() { out.KeepAlive(ctx, alive, func() string { return "working" }) })
	err := run(ctx, func(stage T) error {
		b, err := json.Marshal(stage)
		if err != nil {
			return fmt.Errorf("serve: stage: %w", err)
		}
		return out.Data(b)
	})
	if err != nil {
		return nil // the status was sent, and nobody reads
	}
	_ = out.Done() // the reader may be gone
	return nil
}
