package inference_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"rbee/inference"
)

// A model that gives vectors says so when it is asked for an answer.
func TestEncoderGivesNoAnswer(t *testing.T) {
	e, err := inference.Open(t.Context(), "model/testdata/bert.gguf", inference.Options{Threads: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var loop sync.WaitGroup
	loop.Go(func() { _ = e.Run(ctx) })
	defer func() { cancel(); loop.Wait(); e.Close() }()
	for ev, err := range e.Generate(ctx, inference.Request{Prompt: "hello", Raw: true}) {
		if !errors.Is(err, inference.ErrUnsupported) {
			t.Errorf("got %+v, %v", ev, err)
		}
	}
	if _, err := e.Perplexity(ctx, "one two three", 0); !errors.Is(err, inference.ErrUnsupported) {
		t.Errorf("perplexity: %v", err)
	}
}
