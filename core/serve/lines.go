package serve

import (
	"context"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"
)

// Lines answers with lines of text as read yields them, each at once. An error
// before the first line is the answer's; later it only ends it, for the reader is gone.
func Lines(c echo.Context, mime string, read func(ctx context.Context, line func([]byte) error) error) error {
	w := c.Response()
	begin := func() {
		if !w.Committed {
			w.Header().Set("Content-Type", mime)
			w.WriteHeader(http.StatusOK)
		}
	}
	err := read(c.Request().Context(), func(b []byte) error {
		begin()
		if _, err := w.Write(append(slices.Clip(b), '\n')); err != nil { // b is not ours
			return err
		}
		w.Flush()
		return nil
	})
	if err != nil && !w.Committed {
		return err
	}
	begin()
	return nil
}
