package roles

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"rbee/core/dialect/openai"
)

// OpenAI's clients get log-probabilities of every token, streamed or not.
func TestLogprobs(t *testing.T) {
	need(t, 8080, 9200)
	w := newWorld(t)
	q := w.start("queen-rbee", "daemon")
	w.healthy(8080)
	ask := func(body string) (status int, answer []byte) {
		t.Helper()
		resp, err := http.Post("http://127.0.0.1:8080/v1/chat/completions", "application/json", bytes.NewBufferString(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		answer, err = io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, answer
	}
	const body = `{"model":"embedded","messages":[{"role":"user","content":"what is a hive?"}],"max_tokens":6,"temperature":0,"logprobs":true,"top_logprobs":2`
	var whole openai.Completion
	_, answer := ask(body + "}")
	if err := json.Unmarshal(answer, &whole); err != nil {
		t.Fatal(err)
	}
	if len(whole.Choices) != 1 || whole.Choices[0].Logprobs == nil {
		t.Fatalf("got %+v", whole)
	}
	content := whole.Choices[0].Logprobs.Content
	text := ""
	for _, c := range content {
		text += c.Token
		if c.Logprob > 0 || len(c.TopLogprobs) != 2 || c.TopLogprobs[0].Token != c.Token || len(c.Bytes) != len(c.Token) {
			t.Errorf("token %+v", c)
		}
	}
	if len(content) != 6 || text != *whole.Choices[0].Message.Content {
		t.Errorf("%d tokens spell %q, want %q", len(content), text, *whole.Choices[0].Message.Content)
	}
	streamed := 0
	_, answer = ask(body + `,"stream":true}`)
	for line := range strings.SplitSeq(string(answer), "\n") {
		var piece openai.Completion
		data, ok := strings.CutPrefix(line, "data: ")
		if ok && json.Unmarshal([]byte(data), &piece) == nil && len(piece.Choices) == 1 && piece.Choices[0].Logprobs != nil {
			streamed += len(piece.Choices[0].Logprobs.Content)
		}
	}
	if streamed != 6 {
		t.Errorf("%d tokens in the stream", streamed)
	}
	if status, answer := ask(strings.Replace(body, `"logprobs":true,`, "", 1) + "}"); status != http.StatusBadRequest {
		t.Errorf("top_logprobs alone: %d %s", status, answer)
	}
	if err := q.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	q.expect(143)
}
