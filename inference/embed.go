package inference

import (
	"context"
	"errors"
	"fmt"

	"rbee/inference/model"
)

// An embedding is a text under way to its vector.
type embedding struct {
	ctx     context.Context
	tokens  []int32
	pooling model.Pooling
	out     chan<- vector // has room: the loop never waits
}

type vector struct {
	values []float32
	err    error
}

// Embed returns the vector of a text's tokens, not normalised: of their mean, of the
// first ("cls") or of the last, as pooling says, or as the model does when it is "".
// Run computes it, between two steps of the answers under way. It takes a slot, and
// fails with ErrNoSlot when there is none.
func (e *Engine) Embed(ctx context.Context, tokens []int32, pooling string) ([]float32, error) {
	if len(tokens) == 0 {
		return nil, fmt.Errorf("%w: the text has no tokens", ErrBadRequest)
	}
	p, err := e.Prepare(Request{Tokens: tokens}) // are they in the vocabulary?
	if err != nil {
		return nil, err
	}
	if len(tokens) > e.info.ContextLength {
		return nil, &ContextError{Need: len(tokens), Have: e.info.ContextLength}
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("inference: %w", context.Cause(ctx))
	}
	select {
	case <-e.slots:
		defer func() { e.slots <- struct{}{} }()
	default:
		return nil, ErrNoSlot
	}
	out := make(chan vector, 1)
	v := &embedding{ctx: ctx, tokens: p.Tokens, pooling: model.Pooling(pooling), out: out}
	select {
	case e.embeds <- v:
	case <-e.ended:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, fmt.Errorf("inference: %w", context.Cause(ctx))
	}
	r := <-out // it ends with ctx, and with Run
	return r.values, unsupported(r.err)
}

// compute is the loop's side. It ends with the asker, and with the loop.
func (v *embedding) compute(run context.Context, e *Engine) {
	ctx, cancel := context.WithCancelCause(run)
	defer context.AfterFunc(v.ctx, func() { cancel(context.Cause(v.ctx)) })() //nolint:contextcheck // the asker's, beside the loop's
	defer cancel(nil)
	values, err := e.model.Embed(ctx, v.tokens, v.pooling)
	if err != nil && run.Err() != nil {
		err = errors.Join(ErrClosed, err)
	}
	v.out <- vector{values, err}
}
