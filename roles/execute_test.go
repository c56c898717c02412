package roles

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"testing"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/client"
)

// freePort is one that nobody listens on.
func freePort(t testing.TB) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// An answer is what a call brought.
type answer struct {
	status int
	header http.Header
	body   string
}

// code is that of the error envelope.
func (a answer) code() core.Kind {
	var e api.Envelope
	_ = json.Unmarshal([]byte(a.body), &e) // not an error: no code
	return e.Error.Code
}

// call makes a request with a JSON body and headers "Name: value".
func call(t testing.TB, method, url string, body any, headers ...string) answer {
	t.Helper()
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		in = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, url, in)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	resp, err := (&http.Client{Timeout: patience}).Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

// A worker answers nobody who means another one: its port may have been another's.
func TestWorkerIsMeant(t *testing.T) {
	w := newWorld(t)
	port := freePort(t)
	url := fmt.Sprintf("http://127.0.0.1:%d", port)
	w.start("llm-worker-rbee", "serve", "--listen", fmt.Sprintf("127.0.0.1:%d", port), "--worker-id", "w-1")
	w.healthy(port)
	w.until("it is loaded", func() bool {
		r, err := client.New(url, client.Options{}).Ready(t.Context())
		return err == nil && r.Ready
	})
	tests := map[string]struct {
		more   map[string]any
		status int
	}{
		"nobody in particular": {nil, 200},
		"it":                   {map[string]any{"worker_id": "w-1", "model": "embedded"}, 200},
		"another id":           {map[string]any{"worker_id": "w-2"}, 404},
		"another model":        {map[string]any{"worker_id": "w-1", "model": "file:/a.gguf"}, 404},
	}
	for name, tt := range tests {
		body := map[string]any{"job_id": "j-" + strings.ReplaceAll(name, " ", "-"), "prompt": "hi", "max_tokens": 2}
		maps.Copy(body, tt.more)
		got := call(t, "POST", url+"/execute", body)
		if got.status != tt.status || tt.status != 200 && got.code() != core.WorkerNotFound {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
}

// Text that was held back to the end belongs to the last token.
func TestTail(t *testing.T) {
	w := newWorld(t)
	port := freePort(t)
	url := fmt.Sprintf("http://127.0.0.1:%d", port)
	w.start("llm-worker-rbee", "serve", "--listen", fmt.Sprintf("127.0.0.1:%d", port))
	w.healthy(port)
	worker := client.New(url, client.Options{})
	prompt, n, zero := "what is a hive?", 3, 0.0
	r := api.ExecuteRequest{JobID: "j", TaskRequest: api.TaskRequest{Prompt: &prompt, MaxTokens: &n, Temperature: &zero}}
	read := func(stop ...string) (last api.Token, text string) {
		r.Stop, r.JobID = stop, r.JobID+"j" // the last one may not be over when its stream is
		for ev, err := range worker.Execute(t.Context(), r) {
			if errors.Is(err, core.WorkerNotReady) {
				return last, ""
			}
			if err != nil {
				t.Fatal(err)
			}
			if tok, ok := ev.Event.(*api.Token); ok {
				last, text = *tok, text+tok.Text
			}
		}
		return last, text
	}
	var plain api.Token
	var text string
	w.until("it is loaded", func() bool { plain, text = read(); return text != "" })
	// The whole answer may be the start of this stop string, so it is held back.
	tail, held := read(text + "…")
	if held != text || tail.ID != plain.ID || tail.ID == 0 {
		t.Errorf("held back: %q with last %+v, otherwise %q with last %+v", held, tail, text, plain)
	}
}
