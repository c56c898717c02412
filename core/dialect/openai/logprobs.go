package openai

import (
	"fmt"

	"rbee/core"
	"rbee/core/api"
)

// Logprobs are the log-probabilities of an answer's tokens, or of those of a piece.
type Logprobs struct {
	Content []TokenLogprob `json:"content"`
	Refusal []TokenLogprob `json:"refusal"`
}

// TokenLogprob is a token of the answer. TopLogprobs is never null.
type TokenLogprob struct {
	TopLogprob

	TopLogprobs []TopLogprob `json:"top_logprobs"`
}

// TopLogprob is a token that was likely there.
type TopLogprob struct {
	Token   string  `json:"token"`
	Logprob float64 `json:"logprob"`
	Bytes   []int   `json:"bytes"`
}

// logprobs reads logprobs and top_logprobs, of which the second needs the first.
func (r *ChatRequest) logprobs() (*int, error) {
	n := 0
	if r.TopLogprobs != nil {
		n = *r.TopLogprobs
	}
	why := ""
	switch {
	case n < 0 || n > api.MaxLogprobs:
		why = fmt.Sprintf("is %d, want 0 to %d", n, api.MaxLogprobs)
	case r.TopLogprobs != nil && !r.Logprobs:
		why = "needs logprobs to be true"
	case r.Logprobs:
		return &n, nil
	default:
		return nil, nil
	}
	return nil, &core.Fault{Kind: core.Invalid, What: "top_logprobs: " + why, Fields: []core.FieldError{{Field: "top_logprobs", Constraint: "range", Message: why}}}
}

// Add adds the tokens of an event to what may be nil, and returns it: nil as long
// as no event had any.
func (l *Logprobs) Add(t *api.Token) *Logprobs {
	pieces := t.Pieces
	if len(pieces) == 0 && t.Logprob != nil {
		pieces = []api.Piece{{Logprob: api.Logprob{ID: t.ID, Text: t.Text, Logprob: *t.Logprob}, TopLogprobs: t.TopLogprobs}}
	}
	if len(pieces) > 0 && l == nil {
		l = &Logprobs{}
	}
	for _, p := range pieces {
		c := TokenLogprob{TopLogprob: topLogprob(p.Logprob), TopLogprobs: []TopLogprob{}}
		for _, top := range p.TopLogprobs {
			c.TopLogprobs = append(c.TopLogprobs, topLogprob(top))
		}
		l.Content = append(l.Content, c)
	}
	return l
}

func topLogprob(p api.Logprob) TopLogprob {
	t := TopLogprob{p.Text, p.Logprob, p.Bytes}
	if t.Bytes == nil {
		t.Bytes = make([]int, len(p.Text))
		for i := range len(p.Text) {
			t.Bytes[i] = int(p.Text[i])
		}
	}
	return t
}
