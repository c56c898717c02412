package roles

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rbee/core"
	"rbee/core/api"
)

// What is wrong with a request is a status, streamed or not, and not an event.
func TestRefusedAtOnce(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	q := w.queen(nil, "--models-dir", dir)
	tests := map[string]struct {
		more    fields
		headers []string
		status  int
		code    core.Kind
	}{
		"not imported":      {fields{"model": "file:/etc/passwd"}, nil, 400, core.Invalid},
		"not there":         {fields{"model": "file:" + filepath.Join(dir, "x.gguf")}, nil, 404, core.ModelNotFound},
		"no repository":     {fields{"model": "hf:org"}, nil, 400, core.Invalid},
		"raw chat":          {fields{"prompt": nil, "messages": []fields{{"role": "user", "content": "x"}}, "raw": true}, nil, 400, core.Invalid},
		"deadline, no time": {nil, []string{"X-Deadline: tomorrow"}, 400, core.Invalid},
	}
	for name, tt := range tests {
		for _, stream := range []bool{false, true} {
			more := fields{"stream": stream}
			maps.Copy(more, tt.more)
			if a := q.post(more, tt.headers...); a.status != tt.status || a.code() != tt.code {
				t.Errorf("%s, stream %v: %d %s", name, stream, a.status, a.body)
			}
		}
	}
	if a := q.post(nil, "X-Deadline: 1000"); a.status != 504 || a.code() != core.DeadlineExceeded {
		t.Errorf("a deadline that has passed: %d %s", a.status, a.body)
	}
	if list := w.procs("llm-worker-rbee"); len(list) != 0 {
		t.Errorf("a worker was started for none: %v", list)
	}
}

// A relative directory of models is where the queen was started.
func TestModelsDir(t *testing.T) {
	w := newWorld(t)
	q := w.queen(nil, "--models-dir", "../inference/model/testdata")
	if q.text(fields{"model": "file:" + abs(t, guide), "raw": true}) == "" {
		t.Error("no answer")
	}
}

// queued begins a task and returns when it waits for a slot. Its first token closes
// the channel.
func (q running) queued(ctx context.Context, model string) <-chan struct{} {
	q.w.t.Helper()
	said, spoke := make(chan string, 1), make(chan struct{})
	go func() {
		prompt := "a b"
		for ev, err := range q.client.Task(ctx, api.TaskRequest{Model: core.ModelRef(model), Prompt: &prompt}) {
			c, comment := ev.Event.(*api.Comment)
			tok, token := ev.Event.(*api.Token)
			if token && tok.Index == 0 {
				close(spoke)
			}
			switch {
			case token:
				c = &api.Comment{Text: "it did not wait"}
			case err != nil:
				c = &api.Comment{Text: err.Error()}
			case !comment:
				continue
			}
			select {
			case said <- c.Text:
			default:
			}
		}
	}()
	if got := <-said; !strings.HasPrefix(got, "queued 1/1") {
		q.w.t.Fatalf("a task that must wait: %s", got)
	}
	return spoke
}

// A full queue says when to come again; who has a slot is not in it.
func TestQueueFull(t *testing.T) {
	w := newWorld(t)
	q := w.queen(nil, "--queue", "1")
	model := q.imported(bigModel(t, 2))
	for range 3 {
		q.begin(model, 2000)
	}
	short := q.begin(model, 400)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	next := q.queued(ctx, model)
	full := q.post(fields{"model": model, "max_tokens": 1})
	if full.status != 429 || full.code() != core.QueueFull || full.header.Get("Retry-After") == "" {
		t.Errorf("a full queue: %d %v %s", full.status, full.header, full.body)
	}
	if err := <-short; err != nil {
		t.Errorf("the short answer: %v", err)
	}
	<-next               // who waited has the slot
	q.queued(ctx, model) // there is a place
	signal(t, command{q.cmd.Process}, syscall.SIGKILL)
}

// events reads a stream from after an event, to its end.
func (q running) events(id core.TaskID, last int64) (list []api.Numbered) {
	q.w.t.Helper()
	for ev, err := range q.client.TaskEvents(q.w.t.Context(), id, last) {
		if err != nil {
			q.w.t.Fatal(err)
		}
		if ev.ID != 0 {
			list = append(list, ev)
		}
	}
	return list
}

// The stream can be read again from any of its events.
func TestResume(t *testing.T) {
	w := newWorld(t)
	q := w.queen(nil)
	q.text(nil)
	list, err := q.client.Tasks(t.Context())
	if err != nil || len(list.Tasks) != 1 {
		t.Fatalf("tasks: %+v, %v", list, err)
	}
	all := q.events(list.Tasks[0].ID, 0)
	for i, ev := range all {
		if ev.ID != int64(i+1) {
			t.Fatalf("event %d has the id %d", i, ev.ID)
		}
	}
	if again := q.events(list.Tasks[0].ID, 3); len(again) != len(all)-3 || again[0].ID != 4 {
		t.Errorf("after 3 of %d: %d from %d on", len(all), len(again), again[0].ID)
	}
	if m, ok := all[len(all)-2].Event.(*api.Metrics); !ok || m.QueueMS != 0 || m.LoadMS == 0 {
		t.Errorf("metrics of an answer that was loaded for and not queued: %+v", all[len(all)-2].Event)
	}
	if a := call(t, "GET", q.url+"/v2/tasks/nobody", nil); a.code() != core.TaskNotFound {
		t.Errorf("an unknown task: %d %s", a.status, a.body)
	}
}

// A cancelled answer has its receipt; cancelling is idempotent.
func TestCancel(t *testing.T) {
	w := newWorld(t)
	q := w.queen(nil)
	task := q.begin(q.imported(bigModel(t, 2)), 2000)
	list, err := q.client.Tasks(t.Context())
	if err != nil || len(list.Tasks) != 1 {
		t.Fatalf("tasks: %+v, %v", list, err)
	}
	id := list.Tasks[0].ID
	for _, id := range []core.TaskID{id, id, "never-seen"} {
		if a := call(t, "DELETE", q.url+"/v2/tasks/"+string(id), nil); a.status != 204 {
			t.Errorf("DELETE %s: %d %s", id, a.status, a.body)
		}
	}
	<-task
	all := q.events(id, 0)
	end, ok := all[len(all)-1].Event.(*api.End)
	if !ok || end.StopReason != api.StopCancelled || end.TokensOut == 0 || end.Usage.CompletionTokens != end.TokensOut {
		t.Fatalf("the last event: %+v", all[len(all)-1].Event)
	}
	if r := end.Receipt; r.Node != core.Localhost || r.Quant == "" || r.KernelClass == "" || r.Engine == "" {
		t.Errorf("receipt: %+v", r)
	}
}

// Ctrl+C cancels the task at a queen that lives on, and does not leave it to her.
func TestInterruptCancels(t *testing.T) {
	need(t, 8080)
	w := newWorld(t)
	q := running{run: w.startEnv([]string{noGrace}, "queen-rbee", "daemon"), url: "http://127.0.0.1:8080"}
	w.healthy(8080)
	r := w.start("rbee", "infer", "--model", bigModel(t, 2), "--temperature", "0", "a b c")
	r.speak()
	began := time.Now()
	signal(t, command{r.cmd.Process}, syscall.SIGINT)
	r.expect(130)
	w.until("the task has ended", func() bool {
		a := call(t, "GET", q.url+"/v2/tasks", nil)
		return strings.Contains(a.body, `"state":"done"`)
	})
	if took := time.Since(began); took > 8*time.Second { // she would do it herself after 10 s
		t.Errorf("the task went on for %v", took)
	}
}

// The correlation id of a request is that of every call for its sake.
func TestCorrelation(t *testing.T) {
	w := newWorld(t)
	q := w.queen(nil)
	if a := q.post(nil, "X-Correlation-ID: my-very-own"); a.status != 200 || a.header.Get("X-Correlation-ID") != "my-very-own" {
		t.Errorf("task: %d %v", a.status, a.header)
	}
	for _, path := range []string{"/v2/tasks", "/v1/workers/spawn", "/execute"} {
		line := regexp.MustCompile(`path=` + path + ` status=20\d took_ms=\d+ correlation_id=my-very-own`)
		w.until("the log of "+path+" has the id", func() bool { return line.MatchString(q.stderr()) })
	}
}

// A reader who has left is no failure of the queen's.
func TestReaderLeaves(t *testing.T) {
	w := newWorld(t)
	q := w.queen(nil)
	model := q.imported(bigModel(t, 2))
	body, _ := json.Marshal(fields{"model": model, "prompt": "a b c", "stream": false})
	ctx, leave := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "POST", q.url+"/v2/tasks", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	ended := make(chan error, 1)
	go func() {
		resp, err := http.DefaultClient.Do(r)
		if err == nil {
			resp.Body.Close()
		}
		ended <- err
	}()
	w.until("the answer is under way", func() bool {
		list, err := q.client.Tasks(t.Context())
		return err == nil && len(list.Tasks) == 1 && list.Tasks[0].TokensOut > 0
	})
	leave()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the request: %v", err)
	}
	w.until("the log says so", func() bool { return strings.Contains(q.stderr(), "path=/v2/tasks status=499") })
}

// A callback has five fields, and none of them harms.
func TestCallback(t *testing.T) {
	w := newWorld(t)
	q := w.queen(nil)
	ready := func(id, url string) answer {
		return call(t, "POST", q.url+"/v1/orchestrator/worker-ready",
			fields{"worker_id": id, "url": url, "model_ref": "embedded", "backend": "cpu", "device": 0}, "X-Rbee-Node: mac")
	}
	for _, url := range []string{"", "x", "http://", "http://mac", "http://:1", "ftp://mac:8001"} {
		if a := ready("w1", url); a.code() != core.Invalid {
			t.Errorf("url %q: %d %s", url, a.status, a.body)
		}
	}
	for range 2 {
		if a := ready("w1", "http://mac:8001"); a.status != 200 {
			t.Errorf("a callback: %d %s", a.status, a.body)
		}
	}
	if a := ready("w1", "http://mac:8002"); a.status != 409 || a.code() != core.WorkerRegistered {
		t.Errorf("another url: %d %s", a.status, a.body)
	}
	if a := ready("../x", "http://mac:8001"); a.code() != core.Invalid {
		t.Errorf("an id: %d %s", a.status, a.body)
	}
	if got := q.text(nil); got == "" { // the worker that nobody started is not asked
		t.Error("no answer")
	}
}

// A hive that accepts and says nothing more holds up no list and no end.
func TestStoppedHive(t *testing.T) {
	w := newWorld(t)
	q := w.queen([]string{"RBEE_LIMITS_WORKER_STOP=200ms", "RBEE_LIMITS_TERM_GRACE=200ms"})
	q.text(nil)
	signal(t, w.proc("rbee-hive"), syscall.SIGSTOP)
	var all sync.WaitGroup
	for _, path := range []string{"/v2/hives", "/v2/workers", "/v2/models", "/v1/models"} {
		all.Go(func() {
			began := time.Now()
			if a := call(t, "GET", q.url+path, nil); a.status != 200 || time.Since(began) > 9*time.Second {
				t.Errorf("%s: %d after %v", path, a.status, time.Since(began))
			}
		})
	}
	all.Wait()
	signal(t, command{q.cmd.Process}, syscall.SIGTERM)
	q.expect(143)
}
