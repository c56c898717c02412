package worker

import (
	"math"
	"strings"
	"unicode/utf8"

	"rbee/core/api"
	"rbee/inference"
)

// impossible is the log-probability of what cannot be: JSON has no infinity, and
// OpenAI's clients know this number.
const impossible = -9999

// piece describes a token with its log-probabilities, nil when nobody asked.
func (a *answer) piece(t *inference.Token) *api.Piece {
	if t.Probed == nil {
		return nil
	}
	p := &api.Piece{Logprob: a.logprob(t.ID, t.Probed.Logprob)}
	for _, top := range t.Probed.Top {
		p.TopLogprobs = append(p.TopLogprobs, a.logprob(top.ID, top.Value))
	}
	return p
}

func (a *answer) logprob(id int32, value float64) api.Logprob {
	b := a.e.Piece(id)
	l := api.Logprob{ID: id, Text: string(b), Logprob: value}
	if math.IsInf(value, -1) {
		l.Logprob = impossible
	}
	if utf8.Valid(b) {
		return l
	}
	l.Text = strings.ToValidUTF8(l.Text, "\ufffd")
	for _, c := range b {
		l.Bytes = append(l.Bytes, int(c))
	}
	return l
}
