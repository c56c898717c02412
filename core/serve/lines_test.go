package serve

import (
	"context"
	"io"
	"log/slog"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/labstack/echo/v4"
)

// A line belongs to whoever has it: others read it, too.
func TestLinesShared(t *testing.T) {
	line := append(make([]byte, 0, 16), "one line"...)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			e := New(Options{Log: slog.New(slog.DiscardHandler)})
			e.GET("/", func(c echo.Context) error {
				return Lines(c, "text/plain", func(_ context.Context, say func([]byte) error) error { return say(line) })
			})
			rec := httptest.NewRecorder()
			e.ServeHTTP(rec, httptest.NewRequest("GET", "http://localhost/", nil))
			if got, _ := io.ReadAll(rec.Body); string(got) != "one line\n" {
				t.Errorf("got %q", got)
			}
		})
	}
	all.Wait()
	if rest := line[:cap(line)][len(line):]; rest[0] != 0 {
		t.Errorf("behind the line is %q now", rest)
	}
}
