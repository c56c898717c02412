package roles

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

// openAI is OpenAI's own client of a queen.
func openAI(url string, more ...option.RequestOption) openai.Client {
	return openai.NewClient(append([]option.RequestOption{
		option.WithBaseURL(url + "/v1"), option.WithAPIKey("unused"), option.WithMaxRetries(0),
	}, more...)...)
}

// chat is a short request at temperature 0.
func chat(model string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model: model,
		Messages: []openai.ChatCompletionMessageParamUnion{
			openai.SystemMessage("Help of rbee:\n- `rbee node add hydra` adds a machine to your pool. `ssh hydra` must work from here. `rbee node check hydra` then tests it."),
			openai.UserMessage("how do I add a machine?"),
		},
		Temperature: openai.Float(0), MaxTokens: openai.Int(24),
	}
}

func TestOpenAIChat(t *testing.T) {
	w := newWorld(t)
	q := w.queen(nil)
	c := openAI(q.url)
	whole, err := c.Chat.Completions.New(t.Context(), chat("embedded"))
	if err != nil {
		t.Fatal(err)
	}
	text := whole.Choices[0].Message.Content
	if !strings.HasPrefix(text, "Run `rbee node add hydra`") || whole.Choices[0].FinishReason != "length" || whole.Choices[0].Message.Role != "assistant" {
		t.Errorf("the answer: %+v", whole.Choices)
	}
	if u := whole.Usage; u.CompletionTokens != 24 || u.PromptTokens == 0 || u.TotalTokens != u.PromptTokens+24 {
		t.Errorf("usage: %+v", u)
	}
	if whole.Object != "chat.completion" || whole.Model != "embedded" || whole.ID == "" || whole.Created == 0 {
		t.Errorf("the rest: %s", whole.RawJSON())
	}

	r := chat("embedded")
	r.StreamOptions = openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)}
	s := c.Chat.Completions.NewStreaming(t.Context(), r)
	var acc openai.ChatCompletionAccumulator
	chunks := 0
	for s.Next() {
		chunks++
		if !acc.AddChunk(s.Current()) {
			t.Errorf("chunk %d does not follow: %s", chunks, s.Current().RawJSON())
		}
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	if got := acc.Choices[0]; got.Message.Content != text || got.FinishReason != "length" || chunks < 10 {
		t.Errorf("streamed in %d chunks: %+v", chunks, got)
	}
	if acc.Usage.TotalTokens != whole.Usage.TotalTokens {
		t.Errorf("usage of the stream: %+v", acc.Usage)
	}
}

func TestOpenAIStopAndSeed(t *testing.T) {
	w := newWorld(t)
	q := w.queen(nil)
	c := openAI(q.url)
	r := chat("embedded")
	r.Stop = openai.ChatCompletionNewParamsStopUnion{OfStringArray: []string{"node add", "zzz"}}
	got, err := c.Chat.Completions.New(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if got.Choices[0].Message.Content != "Run `rbee " || got.Choices[0].FinishReason != "stop" {
		t.Errorf("stop: %+v", got.Choices[0])
	}
	model := q.imported(abs(t, guide))
	seeded := func(seed int64) string {
		r := chat(model)
		r.Temperature, r.Seed, r.MaxTokens = openai.Float(1.5), openai.Int(seed), openai.Int(12)
		got, err := c.Chat.Completions.New(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return got.Choices[0].Message.Content
	}
	if a, b, c := seeded(7), seeded(7), seeded(8); a != b || a == c || a == "" {
		t.Errorf("seeds 7, 7, 8: %q, %q, %q", a, b, c)
	}
}

func TestOpenAIModels(t *testing.T) {
	w := newWorld(t)
	q := w.queen(nil)
	c := openAI(q.url)
	model := q.imported(abs(t, guide))
	list, err := c.Models.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, m := range list.Data {
		ids = append(ids, m.ID)
	}
	if strings.Join(ids, " ") != "embedded "+model {
		t.Errorf("models: %q", ids)
	}
	if one, err := c.Models.Get(t.Context(), "embedded"); err != nil || one.ID != "embedded" || one.Object != "model" {
		t.Errorf("one model: %+v, %v", one, err)
	}
	_, err = c.Models.Get(t.Context(), "gpt-nobody")
	expectOpenAI(t, "no model", err, 404, "invalid_request_error", "model_not_found")
}

// expectOpenAI checks an error in OpenAI's shape, as its client reads it.
func expectOpenAI(t *testing.T, name string, err error, status int, kind, code string) {
	t.Helper()
	e, ok := errors.AsType[*openai.Error](err)
	if !ok || e.StatusCode != status || e.Type != kind || e.Code != code || e.Message == "" {
		t.Errorf("%s: got %v, want %d %s %s", name, err, status, kind, code)
	}
}

func TestOpenAIErrors(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	q := w.queen(nil, "--models-dir", dir)
	c := openAI(q.url)
	tests := map[string]struct {
		change func(*openai.ChatCompletionNewParams)
		status int
		code   string
	}{
		"unknown model": {func(r *openai.ChatCompletionNewParams) { r.Model = "file:" + filepath.Join(dir, "x.gguf") }, 404, "model_not_found"},
		"not imported":  {func(r *openai.ChatCompletionNewParams) { r.Model = "file:/etc/passwd" }, 400, "invalid_request"},
		"temperature":   {func(r *openai.ChatCompletionNewParams) { r.Temperature = openai.Float(3) }, 400, "invalid_request"},
		"no messages":   {func(r *openai.ChatCompletionNewParams) { r.Messages = nil }, 400, "invalid_request"},
		"five stops": {func(r *openai.ChatCompletionNewParams) {
			r.Stop = openai.ChatCompletionNewParamsStopUnion{OfStringArray: strings.Split("a b c d e", " ")}
		}, 400, "invalid_request"},
		"two answers": {func(r *openai.ChatCompletionNewParams) { r.N = openai.Int(2) }, 400, "unsupported"},
		"too long": {func(r *openai.ChatCompletionNewParams) {
			r.Messages = []openai.ChatCompletionMessageParamUnion{openai.UserMessage(strings.Repeat("bees ", 9000))}
		}, 400, "context_length_exceeded"},
	}
	for name, tt := range tests {
		r := chat("embedded")
		tt.change(&r)
		_, err := c.Chat.Completions.New(t.Context(), r)
		expectOpenAI(t, name, err, tt.status, "invalid_request_error", tt.code)
		s := c.Chat.Completions.NewStreaming(t.Context(), r)
		for s.Next() {
			t.Errorf("%s, streamed: %s", name, s.Current().RawJSON())
		}
		expectOpenAI(t, name+", streamed", s.Err(), tt.status, "invalid_request_error", tt.code)
	}
}

func TestOpenAIToken(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "token")
	const token = "0123456789abcdef0123456789abcdef"
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	q := w.queen(nil, "--token-file", file)
	stranger, friend := openAI(q.url), openAI(q.url, option.WithAPIKey(token))
	_, err := stranger.Chat.Completions.New(t.Context(), chat("embedded"))
	expectOpenAI(t, "another token", err, 401, "authentication_error", "invalid_api_key")
	if _, err := friend.Chat.Completions.New(t.Context(), chat("embedded")); err != nil {
		t.Errorf("with the token: %v", err)
	}
	if a := call(t, "GET", q.url+"/v2/workers", nil); a.status != 401 || a.header.Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("without a token: %d %v", a.status, a.header)
	}
	if a := call(t, "GET", q.url+"/health", nil); a.status != 200 || !strings.Contains(a.body, `"queen"`) {
		t.Errorf("health: %d %s", a.status, a.body)
	}
}
