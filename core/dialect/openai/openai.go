// Package openai is OpenAI's wire for chat completions and models, over ours:
// requests become tasks, events become chunks. What we cannot do is refused.
package openai

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"rbee/core"
	"rbee/core/api"
)

// ChatRequest is the body of POST /v1/chat/completions: the fields that we act
// on, and those that we refuse.
type ChatRequest struct {
	Model               string            `json:"model"`
	Messages            []json.RawMessage `json:"messages"`
	Stream              bool              `json:"stream"`
	StreamOptions       *StreamOptions    `json:"stream_options"`
	MaxTokens           *int              `json:"max_tokens"`
	MaxCompletionTokens *int              `json:"max_completion_tokens"`
	Temperature         *float64          `json:"temperature"`
	TopP                *float64          `json:"top_p"`
	PresencePenalty     *float64          `json:"presence_penalty"`
	FrequencyPenalty    *float64          `json:"frequency_penalty"`
	LogitBias           map[int32]float64 `json:"logit_bias"`
	Seed                *int64            `json:"seed"`
	Stop                json.RawMessage   `json:"stop"`
	N                   *int              `json:"n"`
	Logprobs            bool              `json:"logprobs"`
	TopLogprobs         *int              `json:"top_logprobs"`
	Tools               json.RawMessage   `json:"tools"`
	Functions           json.RawMessage   `json:"functions"`
	ResponseFormat      json.RawMessage   `json:"response_format"`
	Modalities          []string          `json:"modalities"`
	Audio               json.RawMessage   `json:"audio"`

	// Beyond OpenAI, as other local servers have them.
	TopK               *int            `json:"top_k"`
	MinP               *float64        `json:"min_p"`
	RepetitionPenalty  *float64        `json:"repetition_penalty"`
	ChatTemplateKwargs json.RawMessage `json:"chat_template_kwargs"`
}

// StreamOptions say what a stream holds besides the answer.
type StreamOptions struct {
	IncludeUsage bool `json:"include_usage"`
}

const maxStops = 4

// Task makes a task of the request, or says what is wrong or not supported.
func (r *ChatRequest) Task() (api.TaskRequest, error) {
	if err := r.refuse(); err != nil {
		return api.TaskRequest{}, err
	}
	stops, err := readStops(r.Stop)
	if err != nil {
		return api.TaskRequest{}, err
	}
	t := api.TaskRequest{
		Model: core.ModelRef(r.Model), Messages: r.Messages, MaxTokens: r.MaxTokens, Temperature: r.Temperature, TopP: r.TopP,
		TopK: r.TopK, MinP: r.MinP, RepetitionPenalty: r.RepetitionPenalty, PresencePenalty: r.PresencePenalty,
		FrequencyPenalty: r.FrequencyPenalty, LogitBias: r.LogitBias, Stop: stops,
		Tools: r.Tools, ResponseFormat: r.ResponseFormat, ChatTemplateKwargs: r.ChatTemplateKwargs,
	}
	if r.MaxCompletionTokens != nil {
		t.MaxTokens = r.MaxCompletionTokens
	}
	if r.Seed != nil {
		seed := uint64(*r.Seed)
		t.Seed = &seed
	}
	if t.Logprobs, err = r.logprobs(); err != nil {
		return t, err
	}
	if len(r.Messages) == 0 {
		return t, &core.Fault{Kind: core.Invalid, What: "messages: is missing or empty", Fields: []core.FieldError{{Field: "messages", Constraint: "required", Message: "is missing or empty"}}}
	}
	return t, t.Validate()
}

func (r *ChatRequest) refuse() error {
	given := func(raw json.RawMessage) bool {
		b := bytes.TrimSpace(raw)
		return len(b) > 0 && string(b) != "null" && string(b) != "[]"
	}
	for _, f := range []struct {
		name  string
		given bool
	}{
		{"n above 1", r.N != nil && *r.N != 1},
		{"functions", given(r.Functions)},
		{"audio", given(r.Audio) || strings.Contains(strings.Join(r.Modalities, " "), "audio")},
	} {
		if f.given {
			return &core.Fault{Kind: core.Unsupported, What: f.name + " is not supported"}
		}
	}
	return nil
}

// readStops reads a string or a list of up to four.
func readStops(raw json.RawMessage) ([]string, error) {
	var one string
	var many []string
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return nil, nil
	case json.Unmarshal(raw, &one) == nil:
		return []string{one}, nil
	case json.Unmarshal(raw, &many) == nil && len(many) <= maxStops:
		return many, nil
	}
	return nil, &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("stop: want a string or up to %d of them", maxStops)}
}

// Completion is the answer to a request that does not stream, and with Object
// "chat.completion.chunk" a piece of one that does.
type Completion struct {
	ID      string   `json:"id"`
	Object  string   `json:"object"`
	Created int64    `json:"created"`
	Model   string   `json:"model"`
	Choices []Choice `json:"choices"`
	Usage   *Usage   `json:"usage,omitempty"`
}

// Choice is the one answer. Message is set in a whole answer, Delta in a piece.
type Choice struct {
	Index        int       `json:"index"`
	Message      *Message  `json:"message,omitempty"`
	Delta        *Message  `json:"delta,omitempty"`
	Logprobs     *Logprobs `json:"logprobs"`
	FinishReason *string   `json:"finish_reason"`
}

// Message is a role and a text; a Delta may have either.
type Message struct {
	Role    string  `json:"role,omitempty"`
	Content *string `json:"content,omitempty"`
}

// Usage counts tokens.
type Usage struct {
	PromptTokens     int `json:"prompt_tokens"`
	CompletionTokens int `json:"completion_tokens"`
	TotalTokens      int `json:"total_tokens"`
}

// UsageOf makes OpenAI's usage of ours.
func UsageOf(u api.Usage) *Usage {
	return &Usage{u.PromptTokens, u.CompletionTokens, u.PromptTokens + u.CompletionTokens}
}

// FinishReason makes OpenAI's reason of ours.
func FinishReason(r api.StopReason) string {
	switch r {
	case api.StopMaxTokens:
		return "length"
	case api.StopToolCalls:
		return "tool_calls"
	}
	return "stop"
}

// Model is one model of GET /v1/models.
type Model struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

// Models is the list of models.
type Models struct {
	Object string  `json:"object"`
	Data   []Model `json:"data"`
}

// Failure is OpenAI's error.
type Failure struct {
	Error FailureBody `json:"error"`
}

// FailureBody says what went wrong.
type FailureBody struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
}

// FailureOf makes OpenAI's error of ours.
func FailureOf(err error) Failure {
	f := core.FaultOf(err)
	kind, code := "server_error", strings.ToLower(string(f.Kind))
	switch status := f.Kind.Status(); {
	case status == http.StatusUnauthorized:
		kind, code = "authentication_error", "invalid_api_key"
	case status == http.StatusTooManyRequests:
		kind = "rate_limit_error"
	case status < http.StatusInternalServerError:
		kind = "invalid_request_error"
	}
	body := FailureBody{Message: f.What, Type: kind, Code: &code}
	if len(f.Fields) > 0 {
		body.Param = &f.Fields[0].Field
	}
	return Failure{body}
}
