package openai

import (
	"encoding/json"
	"testing"

	"rbee/core/api"
)

func TestLogprobs(t *testing.T) {
	var l *Logprobs
	if l = l.Add(&api.Token{Text: "x"}); l != nil {
		t.Errorf("of an event without any: %+v", l)
	}
	half, own := -0.5, -1.0
	l = l.Add(&api.Token{Text: "a", Logprob: &half, TopLogprobs: []api.Logprob{{ID: 1, Text: "a", Logprob: half}}})
	l = l.Add(&api.Token{Text: "é", Logprob: &own, Pieces: []api.Piece{
		{Logprob: api.Logprob{ID: 5, Text: "\ufffd", Bytes: []int{195}, Logprob: -2}},
		{Logprob: api.Logprob{ID: 6, Text: "\ufffd", Bytes: []int{169}, Logprob: own}},
	}})
	got, err := json.Marshal(l)
	want := `{"content":[{"token":"a","logprob":-0.5,"bytes":[97],"top_logprobs":[{"token":"a","logprob":-0.5,"bytes":[97]}]},` +
		`{"token":"�","logprob":-2,"bytes":[195],"top_logprobs":[]},{"token":"�","logprob":-1,"bytes":[169],"top_logprobs":[]}],"refusal":null}`
	if err != nil || string(got) != want {
		t.Errorf("got  %s, %v\nwant %s", got, err, want)
	}
}

func TestLogprobsAsked(t *testing.T) {
	tests := map[string]struct {
		body string
		n    int // -1: not asked; -2: refused
	}{
		"not":        {`{}`, -1},
		"false":      {`{"logprobs":false}`, -1},
		"chosen":     {`{"logprobs":true}`, 0},
		"top":        {`{"logprobs":true,"top_logprobs":5}`, 5},
		"top alone":  {`{"top_logprobs":5}`, -2},
		"too many":   {`{"logprobs":true,"top_logprobs":21}`, -2},
		"less than0": {`{"logprobs":true,"top_logprobs":-1}`, -2},
	}
	for name, tt := range tests {
		var r ChatRequest
		if err := json.Unmarshal([]byte(tt.body), &r); err != nil {
			t.Fatal(err)
		}
		n, err := r.logprobs()
		got := -1
		if err != nil {
			got = -2
		} else if n != nil {
			got = *n
		}
		if got != tt.n {
			t.Errorf("%s: got %d, want %d", name, got, tt.n)
		}
	}
}
