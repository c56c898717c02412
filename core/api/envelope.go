package api

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"

	"rbee/core"
)

// Envelope is the body of every answer that is not 2xx.
type Envelope struct {
	Error ErrorBody `json:"error"`
}

// ErrorBody says what went wrong.
type ErrorBody struct {
	Code          core.Kind `json:"code"`
	Message       string    `json:"message"`
	Details       Details   `json:"details,omitempty"`
	CorrelationID string    `json:"correlation_id,omitempty"`
}

// Details are the facts of a fault by name; its bad fields under "errors" and
// its next step under "try".
type Details map[string]json.RawMessage

// NewEnvelope makes the envelope of err.
func NewEnvelope(err error, correlation string) Envelope {
	f := core.FaultOf(err)
	return Envelope{ErrorBody{Code: f.Kind, Message: f.What, Details: detailsOf(f), CorrelationID: correlation}}
}

func detailsOf(f *core.Fault) Details {
	d := Details{}
	add := func(name string, v json.Marshaler) {
		if b, err := v.MarshalJSON(); err == nil {
			d[name] = b
		}
	}
	if len(f.Fields) > 0 {
		if b, err := json.Marshal(f.Fields); err == nil {
			d["errors"] = b
		}
	} else {
		for _, fact := range f.Facts {
			add(fact.Name, fact)
		}
	}
	if f.Try != "" {
		add("try", core.Text("try", f.Try))
	}
	if len(d) == 0 {
		return nil
	}
	return d
}

// fault is the reverse of detailsOf.
func (d Details) fault(kind core.Kind, message string) *core.Fault {
	f := &core.Fault{Kind: kind, What: message}
	for name, raw := range d {
		var text string
		var n int64
		switch {
		case name == "errors":
			_ = json.Unmarshal(raw, &f.Fields) // a foreign shape is left out
		case json.Unmarshal(raw, &text) == nil && name == "try":
			f.Try = text
		case json.Unmarshal(raw, &text) == nil:
			f.Facts = append(f.Facts, core.Text(name, text))
		case json.Unmarshal(raw, &n) == nil:
			f.Facts = append(f.Facts, core.Number(name, n))
		}
	}
	for _, b := range f.Fields {
		f.Facts = append(f.Facts, core.Text(b.Field, b.Message))
	}
	sortFacts(f.Facts)
	return f
}

// ErrorOf returns the error that resp carries, nil for 2xx. It reads the body,
// but does not close it.
func ErrorOf(resp *http.Response) error {
	if resp.StatusCode/100 == 2 {
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	var e Envelope
	if err != nil || json.Unmarshal(b, &e) != nil || e.Error.Code == "" {
		return fmt.Errorf("api: %s answered %s, which is not an answer of rbee: %w", resp.Request.URL.Host, resp.Status, core.Internal)
	}
	return e.Error.Details.fault(e.Error.Code, e.Error.Message)
}

// sortFacts puts facts in the order of their names: a JSON object has none.
func sortFacts(facts []core.Fact) {
	slices.SortFunc(facts, func(a, b core.Fact) int { return cmp.Compare(a.Name, b.Name) })
}
