package model

import (
	"context"
	"errors"
	"fmt"
)

// Embed returns the vector of a text, (Width), not normalised, made of its tokens'
// vectors behind the last norm as pooling says: PoolNone means the model's own. It
// takes a slot while it runs.
func (m *Model) Embed(ctx context.Context, tokens []int32, pooling Pooling) ([]float32, error) {
	if pooling == PoolNone {
		pooling = m.config.Pooling
	}
	switch pooling {
	case PoolMean, PoolCLS, PoolLast:
	case PoolNone:
		return nil, fmt.Errorf("model: the file names no pooling, so one must be asked for, mean, cls or last: without it is %w", ErrUnsupported)
	default:
		return nil, fmt.Errorf("model: pooling %q is %w, only: mean cls last", pooling, ErrUnsupported)
	}
	if len(tokens) == 0 {
		return nil, errors.New("model: embed: no tokens")
	}
	seq, err := m.NewSequence()
	if err != nil {
		return nil, err
	}
	defer seq.Close()
	sum := make([]float64, m.config.Width)
	for rest := tokens; len(rest) > 0; {
		n := min(len(rest), m.maxBatch)
		if _, err := m.Step(ctx, []Input{{Seq: seq, Tokens: rest[:n]}}); err != nil {
			return nil, err
		}
		m.pool(sum, pooling, len(tokens)-len(rest), n, len(tokens))
		rest = rest[n:]
	}
	out := make([]float32, len(sum))
	for i, v := range sum {
		if pooling == PoolMean {
			v /= float64(len(tokens))
		}
		out[i] = float32(v)
	}
	return out, nil
}

// pool adds the columns of the step under way that count: n of all, from the
// from-th on.
func (m *Model) pool(sum []float64, pooling Pooling, from, n, all int) {
	m.dev.Normalize(m.net.stream(), n, m.norm)
	x := m.dev.Read(m.net.stream(), n*m.config.Width)
	for i := range n {
		if pooling == PoolCLS && from+i != 0 || pooling == PoolLast && from+i != all-1 {
			continue
		}
		for j, v := range x[i*m.config.Width:][:m.config.Width] {
			sum[j] += float64(v)
		}
	}
}
