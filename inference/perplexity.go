package inference

import (
	"context"
	"fmt"
	"math"

	"rbee/inference/model"
	"rbee/inference/sample"
)

// Perplexity is how well a model foretells a text: e to the power of the mean
// negative log-likelihood of the tokens that were scored.
type Perplexity struct {
	Value   float64
	MeanNLL float64
	Tokens  int // scored
	Windows int
}

// scoreTokens is how many tokens' logits are kept at once.
const scoreTokens = 64

// Perplexity scores a text. With a window of 0 the whole text, BOS before it if the
// model has one, is one window of which every token but the first is scored. Else it
// is cut into windows of so many tokens as llama-perplexity cuts it: the first token
// of each gives way to BOS, the second half is scored, and what is left of the text
// is not. It is called instead of Run.
func (e *Engine) Perplexity(ctx context.Context, text string, window int) (p Perplexity, err error) {
	if err := e.answers(); err != nil {
		return p, err
	}
	tokens := e.tok.Encode(text, EncodeOptions{AddSpecial: true, ParseSpecial: false})
	first := 0
	if window == 0 {
		window = len(tokens)
	} else {
		first = window / 2
	}
	switch {
	case len(tokens) < max(window, 2):
		return p, fmt.Errorf("%w: the text has %d tokens, too few for a window of %d", ErrBadRequest, len(tokens), max(window, 2))
	case window < 2:
		return p, fmt.Errorf("%w: a window of %d tokens scores none", ErrBadRequest, window)
	case window > e.info.ContextLength:
		return p, &ContextError{Need: window, Have: e.info.ContextLength}
	}
	seq, err := e.model.NewSequence()
	if err != nil {
		return p, fmt.Errorf("inference: perplexity: %w", err)
	}
	defer seq.Close()
	sum := 0.0
	for bos := tokens[0]; len(tokens) >= window; tokens = tokens[window:] {
		if e.tok.AddsBOS() {
			tokens[0] = bos
		}
		seq.Truncate(0)
		nll, err := e.score(ctx, seq, tokens[:window], first)
		if err != nil {
			return p, err
		}
		sum += nll
		p.Windows++
		p.Tokens += window - 1 - first
	}
	p.MeanNLL = sum / float64(p.Tokens)
	p.Value = math.Exp(p.MeanNLL)
	return p, nil
}

// score returns the summed negative log-likelihood of the tokens behind first.
func (e *Engine) score(ctx context.Context, seq *model.Sequence, tokens []int32, first int) (nll float64, err error) {
	for at := 0; at < len(tokens)-1; {
		want := model.All
		n := min(scoreTokens, len(tokens)-1-at)
		if at < first {
			want, n = model.None, min(e.model.MaxBatch(), first-at)
		}
		logits, err := e.model.Step(ctx, []model.Input{{Seq: seq, Tokens: tokens[at:][:n], Logits: want}})
		if err != nil {
			return 0, fmt.Errorf("inference: perplexity: %w", err)
		}
		if want == model.All && len(logits) != n {
			return 0, fmt.Errorf("%w: the model gives vectors, no likelihoods", ErrUnsupported)
		}
		for i, l := range logits {
			logprob, _ := sample.Probe(nil, l, tokens[at+i+1], 0)
			nll -= logprob
		}
		at += n
	}
	return nll, nil
}
