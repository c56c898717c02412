package worker

import (
	"context"
	"errors"
	"io"
	"testing"
)

// A signal ends what waits for stdin.
func TestReadAllEnds(t *testing.T) {
	never, w := io.Pipe()
	defer w.Close()
	signalled := errors.New("signalled")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(signalled)
	if _, err := readAll(ctx, never); !errors.Is(err, signalled) {
		t.Errorf("got %v, want the signal", err)
	}
}
