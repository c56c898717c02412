package api

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"rbee/core"
)

// TaskRequest is the body of POST queen/v2/tasks. A nil pointer is a field that
// was not given.
type TaskRequest struct {
	Model    core.ModelRef     `json:"model"`
	Prompt   *string           `json:"prompt,omitempty"`   // one user message, or the text itself when Raw
	Messages []json.RawMessage `json:"messages,omitempty"` // chat messages, keys and their order kept
	Raw      bool              `json:"raw,omitempty"`      // no chat template

	Node    core.NodeName `json:"node,omitempty"`
	Backend core.Backend  `json:"backend,omitempty"`
	Device  *int          `json:"device,omitempty"`

	MaxTokens         *int              `json:"max_tokens,omitempty"`
	Temperature       *float64          `json:"temperature,omitempty"`
	TopP              *float64          `json:"top_p,omitempty"`
	TopK              *int              `json:"top_k,omitempty"`
	MinP              *float64          `json:"min_p,omitempty"`
	RepetitionPenalty *float64          `json:"repetition_penalty,omitempty"`
	PresencePenalty   *float64          `json:"presence_penalty,omitempty"`
	FrequencyPenalty  *float64          `json:"frequency_penalty,omitempty"`
	LogitBias         map[int32]float64 `json:"logit_bias,omitempty"`
	Seed              *uint64           `json:"seed,omitempty"`
	Stop              []string          `json:"stop,omitempty"`
	IgnoreEOS         bool              `json:"ignore_eos,omitempty"`
	Logprobs          *int              `json:"logprobs,omitempty"` // of each token, and of so many of the likeliest

	Tools              json.RawMessage `json:"tools,omitempty"`
	ToolChoice         json.RawMessage `json:"tool_choice,omitempty"`
	ResponseFormat     json.RawMessage `json:"response_format,omitempty"`
	ChatTemplateKwargs json.RawMessage `json:"chat_template_kwargs,omitempty"`

	ContextLength int    `json:"context_length,omitempty"`
	Threads       int    `json:"threads,omitempty"`
	Priority      string `json:"priority,omitempty"` // "interactive" or "batch"
	Stream        *bool  `json:"stream,omitempty"`   // default true
	Detach        bool   `json:"detach,omitempty"`
}

// Streamed tells whether the answer is an event stream.
func (r *TaskRequest) Streamed() bool { return r.Stream == nil || *r.Stream }

// TextMessage returns a chat message of a role and a text.
func TextMessage(role, content string) json.RawMessage {
	b, _ := json.Marshal(struct { // two strings always marshal
		Role    string `json:"role"`
		Content string `json:"content"`
	}{role, content})
	return b
}

// MaxLogprobs is how many of the likeliest tokens a request may ask for.
const MaxLogprobs = 20

// Limits of contract §4.5.
const (
	maxStops     = 64
	maxStopBytes = 1 << 10
	maxRefBytes  = 512
)

// Validate returns a fault that lists every field that breaks a rule, or nil.
func (r *TaskRequest) Validate() error {
	var v checks
	v.prompt(r)
	v.references(r)
	v.sampling(r)
	v.stops(r.Stop)
	v.oneOf("priority", r.Priority, "", "interactive", "batch")
	return v.fault()
}

// Validate checks an execute request: the job's id, and one source of tokens.
func (r *ExecuteRequest) Validate() error {
	var v checks
	if core.CheckID("job_id", string(r.JobID)) != nil {
		v.add("job_id", "format", "want 1 to 64 of A-Z a-z 0-9 _ -")
	}
	if len(r.Tokens) == 0 {
		v.prompt(&r.TaskRequest)
	}
	v.sampling(&r.TaskRequest)
	v.stops(r.Stop)
	return v.fault()
}

// checks collects what is wrong with a request.
type checks struct {
	bad         []core.FieldError
	unsupported string
}

func (v *checks) add(field, constraint, message string) {
	v.bad = append(v.bad, core.FieldError{Field: field, Constraint: constraint, Message: message})
}

// fault returns everything found as one error. What is unsupported goes first:
// mending the rest would not help.
func (v *checks) fault() error {
	if v.unsupported != "" {
		return &core.Fault{Kind: core.Unsupported, What: v.unsupported}
	}
	if len(v.bad) == 0 {
		return nil
	}
	f := &core.Fault{Kind: core.Invalid, What: "the request is not valid: " + v.bad[0].Field + ": " + v.bad[0].Message, Fields: v.bad}
	for _, b := range v.bad {
		f.Facts = append(f.Facts, core.Text(b.Field, b.Message))
	}
	return f
}

func (v *checks) prompt(r *TaskRequest) {
	switch {
	case r.Prompt == nil && len(r.Messages) == 0:
		v.add("prompt", "required", "want prompt or messages")
	case r.Prompt != nil && len(r.Messages) > 0:
		v.add("prompt", "exclusive", "want prompt or messages, not both")
	case r.Prompt != nil && strings.TrimSpace(*r.Prompt) == "" && !r.Raw:
		v.add("prompt", "length", "is empty")
	case r.Prompt != nil && *r.Prompt == "":
		v.add("prompt", "length", "is empty")
	}
	if r.Raw && len(r.Messages) > 0 {
		v.add("raw", "exclusive", "messages need the chat template; raw wants a prompt")
	}
	for i, m := range r.Messages {
		v.message(i, m)
	}
	switch {
	case len(r.Tools) > 0 && string(r.Tools) != "null" && string(r.Tools) != "[]":
		v.unsupported = "tools are not supported yet"
	case len(r.ResponseFormat) > 0 && !plainText(r.ResponseFormat):
		v.unsupported = "response_format is not supported yet, but for {\"type\":\"text\"}"
	}
}

func plainText(format json.RawMessage) bool {
	var f struct {
		Type string `json:"type"`
	}
	return string(format) == "null" || json.Unmarshal(format, &f) == nil && f.Type == "text"
}

// message checks a chat message: an object with a role, whose content is a text,
// null, or a list of text parts.
func (v *checks) message(i int, raw json.RawMessage) {
	field := fmt.Sprintf("messages[%d]", i)
	var m struct {
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
	}
	if json.Unmarshal(raw, &m) != nil {
		v.add(field, "type", "want an object with a role and a content")
		return
	}
	if m.Role == "" {
		v.add(field+".role", "required", "is missing")
	}
	var parts []struct {
		Type string `json:"type"`
	}
	var text string
	if len(m.Content) == 0 || string(m.Content) == "null" || json.Unmarshal(m.Content, &text) == nil {
		return
	}
	if json.Unmarshal(m.Content, &parts) != nil {
		v.add(field+".content", "type", "want a text or a list of parts")
		return
	}
	for _, p := range parts {
		if p.Type != "text" {
			v.unsupported = fmt.Sprintf("%s: content of type %q is not supported, only text", field, p.Type)
		}
	}
}

func (v *checks) references(r *TaskRequest) {
	if len(r.Model) > maxRefBytes && !strings.HasPrefix(string(r.Model), "file:") {
		v.add("model", "length", fmt.Sprintf("has %d characters, at most %d", len(r.Model), maxRefBytes))
	}
	if r.Node != "" && (len(r.Node) > 255 || strings.ContainsAny(string(r.Node), " \t\r\n\x00") || r.Node[0] == '-') {
		v.add("node", "format", "is not a name")
	}
	v.oneOf("backend", string(r.Backend), "", string(core.CPU), string(core.CUDA))
	v.atLeast("context_length", r.ContextLength, 0)
	v.atLeast("threads", r.Threads, 0)
	if r.Device != nil {
		v.atLeast("device", *r.Device, 0)
	}
}

func (v *checks) sampling(r *TaskRequest) {
	if r.MaxTokens != nil {
		v.atLeast("max_tokens", *r.MaxTokens, 1)
	}
	if r.TopK != nil {
		v.atLeast("top_k", *r.TopK, 0)
	}
	if r.Logprobs != nil && (*r.Logprobs < 0 || *r.Logprobs > MaxLogprobs) {
		v.add("logprobs", "range", fmt.Sprintf("is %d, want 0 to %d", *r.Logprobs, MaxLogprobs))
	}
	v.within("temperature", r.Temperature, 0, 2)
	v.within("top_p", r.TopP, 0, 1)
	v.within("min_p", r.MinP, 0, 1)
	v.within("repetition_penalty", r.RepetitionPenalty, 0.01, 10)
	v.within("presence_penalty", r.PresencePenalty, -2, 2)
	v.within("frequency_penalty", r.FrequencyPenalty, -2, 2)
	for id, bias := range r.LogitBias {
		v.within(fmt.Sprintf("logit_bias[%d]", id), &bias, -100, 100)
	}
}

func (v *checks) stops(stops []string) {
	if len(stops) > maxStops {
		v.add("stop", "length", fmt.Sprintf("has %d strings, at most %d", len(stops), maxStops))
	}
	for i, s := range stops {
		if s == "" || len(s) > maxStopBytes {
			v.add(fmt.Sprintf("stop[%d]", i), "length", fmt.Sprintf("want 1 to %d bytes", maxStopBytes))
		}
	}
}

func (v *checks) atLeast(field string, n, least int) {
	if n < least {
		v.add(field, "range", fmt.Sprintf("is %d, at least %d", n, least))
	}
}

func (v *checks) within(field string, f *float64, low, high float64) {
	if f != nil && (math.IsNaN(*f) || *f < low || *f > high) {
		v.add(field, "range", fmt.Sprintf("is %g, want %g to %g", *f, low, high))
	}
}

func (v *checks) oneOf(field, got string, want ...string) {
	if slices.Contains(want, got) {
		return
	}
	v.add(field, "enum", fmt.Sprintf("is %q, want one of %s", got, strings.Join(want[1:], ", ")))
}
