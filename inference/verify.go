package inference

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"

	"rbee/inference/gguf"
	"rbee/inference/model"
	"rbee/inference/quant"
	"rbee/inference/reference"
)

// A Check is one part of a model as two engines compute it: the one that answers,
// and the slow one of package reference, both from the same input. What a layer
// adds to the residual stream is compared, so that an error stays in its layer.
type Check struct {
	Part     string  // "embedding", "layer 0", …, "logits"
	MaxError float64 // the largest difference
	Cosine   float64 // of what the two add; 1 is the same direction
	Worst    float64 // relative error of the channel that is farthest off
	Limit    float64 // of Worst
	Alone    float64 // by how much Worst stands out: relative to the eighth worst channel
}

// standsOut is from when on a channel's error is no rounding: that of activations
// is spread over many channels, the error of a wrong weight is one channel's.
const standsOut = 2

// OK tells whether the two agree.
func (c Check) OK() bool {
	return c.Worst <= c.Limit && c.Cosine >= 1-c.Limit && (c.Worst <= exactLimit || c.Alone <= standsOut)
}

// verifyTokens is how many tokens of the text are computed: enough to see an error
// above the rounding of activations, few enough for the slow engine.
const verifyTokens = 24

// Verify computes a text with the model at path and with the reference engine, and
// yields each part as it is done. It needs memory for one layer in float32 beside
// the model.
func Verify(ctx context.Context, path string, o Options, text string) iter.Seq2[Check, error] {
	return func(yield func(Check, error) bool) {
		f, err := openFile(path)
		if err != nil {
			yield(Check{}, err)
			return
		}
		o.ContextLength = verifyTokens
		e, err := load(ctx, f, o, nil)
		if err != nil {
			yield(Check{}, errors.Join(unsupported(err), f.Close()))
			return
		}
		defer e.Close()
		tokens := e.tok.Encode(text, EncodeOptions{AddSpecial: true})
		e.verify(ctx, tokens[:min(len(tokens), verifyTokens)], yield)
	}
}

// verify compares the engine, whose Run is not called, with the reference.
func (e *Engine) verify(ctx context.Context, tokens []int32, yield func(Check, error) bool) {
	ref, err := reference.Open(e.file)
	if err != nil {
		yield(Check{}, fmt.Errorf("%w: %w", ErrUnsupported, err))
		return
	}
	ref.Context = e.info.ContextLength
	streams, logits, err := e.trace(ctx, tokens)
	if err != nil {
		yield(Check{}, err)
		return
	}
	v := verifier{ref: ref, width: ref.Width(), limits: limits(e.file)}
	for part := range v.parts(tokens, streams, logits) {
		if ctx.Err() != nil {
			yield(Check{}, fmt.Errorf("inference: verify: %w", context.Cause(ctx)))
			return
		}
		if check, err := part(); !yield(check, err) || err != nil {
			return
		}
	}
}

// trace computes the tokens in one step: the residual stream that enters each
// layer and leaves the last, and the logits, if there are any.
func (e *Engine) trace(ctx context.Context, tokens []int32) (streams [][]float32, logits []float32, err error) {
	seq, err := e.model.NewSequence()
	if err != nil {
		return nil, nil, err
	}
	defer seq.Close()
	e.model.Watch(func(_ int, x []float32) { streams = append(streams, slices.Clone(x)) })
	defer e.model.Watch(nil)
	out, err := e.model.Step(ctx, []model.Input{{Seq: seq, Tokens: tokens, Logits: model.All}})
	if err != nil {
		return nil, nil, err
	}
	for _, row := range out {
		logits = append(logits, row...)
	}
	return streams, logits, nil
}

// A verifier compares part by part.
type verifier struct {
	ref    *reference.Model
	width  int
	limits map[string]float64 // by part
}

// parts yields the comparisons, each to be made when it is called.
func (v *verifier) parts(tokens []int32, streams [][]float32, logits []float32) iter.Seq[func() (Check, error)] {
	return func(yield func(func() (Check, error)) bool) {
		if !yield(func() (Check, error) {
			want, err := v.ref.Embedding(tokens)
			return v.check("embedding", want, streams[0], nil, v.width), err
		}) {
			return
		}
		for i := range v.ref.Layers() {
			if !yield(func() (Check, error) {
				want, err := v.ref.Layer(i, streams[i])
				return v.check(fmt.Sprintf("layer %d", i), want, streams[i+1], streams[i], v.width), err
			}) {
				return
			}
		}
		if v.ref.Encoder() {
			return
		}
		yield(func() (Check, error) {
			rows, err := v.ref.Head(streams[len(streams)-1])
			return v.check("logits", slices.Concat(rows...), logits, nil, len(logits)/len(tokens)), err
		})
	}
}

// check compares (n, channels) arrays, less what went in.
func (v *verifier) check(part string, want, got, in []float32, channels int) Check {
	c := Check{Part: part, Limit: v.limits[part]}
	if len(want) != len(got) || len(want) == 0 { // the reference failed, or the two are not of one model
		c.Worst = math.Inf(1)
		return c
	}
	want, got = slices.Clone(want), slices.Clone(got)
	for i := range in {
		want[i] -= in[i]
		got[i] -= in[i]
	}
	d := reference.Compare(want, got)
	c.MaxError, c.Cosine = d.MaxAbs, d.Cosine
	c.Worst, c.Alone = worstChannel(want, got, channels)
	return c
}

// worstChannel is the largest error of a channel, root mean square over the
// tokens, relative to the channel's own size and the median channel's; and that
// error relative to that of the eighth worst.
func worstChannel(want, got []float32, channels int) (worst, alone float64) {
	size, gap := make([]float64, channels), make([]float64, channels)
	for i, w := range want {
		d := float64(got[i]) - float64(w)
		size[i%channels] += float64(w) * float64(w)
		gap[i%channels] += d * d
	}
	usual := math.Sqrt(median(size))
	for c := range size {
		gap[c] = math.Sqrt(gap[c]) / (math.Sqrt(size[c]) + usual + 1e-30)
	}
	worst = slices.Max(gap) // NaN, if there is one
	if math.IsNaN(worst) {
		return math.Inf(1), math.Inf(1)
	}
	slices.Sort(gap)
	return worst, worst / (gap[max(0, channels-8)] + 1e-30)
}

func median(x []float64) float64 { return slices.Sorted(slices.Values(x))[len(x)/2] }

// Limits of the relative error of a channel: float32 sums in another order, weights
// or activations of 16 bits, and activations rounded to 8 bits.
const (
	exactLimit     = 1e-4
	quantizedLimit = 0.1
)

// limits says what error each part may have, by the types of its matrices.
func limits(f *gguf.File) map[string]float64 {
	l := map[string]float64{"embedding": exactLimit, "logits": exactLimit}
	head := "token_embd.weight"
	if _, ok := f.Tensor("output.weight"); ok {
		head = "output.weight"
	}
	for _, t := range f.Tensors() {
		var layer int
		part := ""
		if _, err := fmt.Sscanf(t.Name, "blk.%d.", &layer); err == nil {
			part = fmt.Sprintf("layer %d", layer)
		} else if t.Name == head {
			part = "logits"
		}
		limit := exactLimit
		if quant.Type(t.Type).Block() > 1 {
			limit = quantizedLimit
		}
		if part != "" {
			l[part] = max(l[part], limit)
		}
	}
	return l
}
