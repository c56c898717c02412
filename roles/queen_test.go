package roles

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/client"
)

// A running is a persistent queen of a world.
type running struct {
	*run

	url    string
	client *client.Client
}

// noGrace lets what a killed queen leaves end at once: no test brings her back.
const noGrace = "RBEE_LIMITS_EOF_GRACE=0s"

// queen starts one at a free port.
func (w *world) queen(env []string, args ...string) running {
	w.t.Helper()
	port := freePort(w.t)
	q := running{run: w.startEnv(append([]string{noGrace}, env...), "queen-rbee", append([]string{"daemon", "--listen", fmt.Sprintf("127.0.0.1:%d", port)}, args...)...)}
	w.healthy(port)
	q.url = fmt.Sprintf("http://127.0.0.1:%d", port)
	q.client = client.New(q.url, client.Options{})
	return q
}

// fields are those of a request.
type fields map[string]any

// post posts a task and returns its whole answer.
func (q running) post(f fields, headers ...string) answer {
	q.w.t.Helper()
	body := fields{"prompt": "what is a hive?", "temperature": 0, "max_tokens": 8, "stream": false}
	maps.Copy(body, f)
	return call(q.w.t, "POST", q.url+"/v2/tasks", body, headers...)
}

// text is the answer to a task that must succeed.
func (q running) text(f fields) string {
	q.w.t.Helper()
	a := q.post(f)
	var r api.TaskResult
	if err := json.Unmarshal([]byte(a.body), &r); err != nil || a.status != 200 {
		q.w.t.Fatalf("task %v: %d %s", f, a.status, a.body)
	}
	return r.Text
}

// imported makes a file one that tasks may name.
func (q running) imported(path string) string {
	q.w.t.Helper()
	m, err := q.client.Import(q.w.t.Context(), path)
	if err != nil {
		q.w.t.Fatal(err)
	}
	return string(m.Ref)
}

// begin begins a task that goes on for a while, and returns with its first token.
// Its outcome comes by the channel.
func (q running) begin(model string, tokens int) <-chan error {
	q.w.t.Helper()
	prompt, zero := "a b c", 0.0
	r := api.TaskRequest{Model: core.ModelRef(model), Prompt: &prompt, MaxTokens: &tokens, Temperature: &zero}
	first, ended := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		err := errors.New("no end")
		for ev, failed := range q.client.Task(q.w.t.Context(), r) {
			if failed != nil {
				err = failed
				break
			}
			switch ev := ev.Event.(type) {
			case *api.Token:
				select {
				case first <- struct{}{}:
				default:
				}
			case *api.End:
				err = nil
			case *api.Failure:
				err = ev.Err()
			}
		}
		ended <- err
	}()
	select {
	case <-first:
	case err := <-ended:
		q.w.t.Fatalf("task ended before its first token: %v; %s", err, q.stderr())
	}
	return ended
}

// signal sends one to a process.
func signal(t testing.TB, p signaller, s syscall.Signal) {
	t.Helper()
	if err := p.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// A worker that ended is replaced, and whoever took its port does not answer for it.
func TestWorkerIsReplaced(t *testing.T) {
	w := newWorld(t)
	q := w.queen(nil)
	other := q.imported(abs(t, guide))
	want := q.text(nil)
	signal(t, w.proc("llm-worker-rbee"), syscall.SIGKILL)
	w.until("the worker is gone", func() bool { return len(w.procs("llm-worker-rbee")) == 0 })
	if got := q.text(nil); got != want {
		t.Errorf("after the worker's end: %q, before: %q", got, want)
	}
	signal(t, w.proc("llm-worker-rbee"), syscall.SIGKILL)
	w.until("the worker is gone", func() bool { return len(w.procs("llm-worker-rbee")) == 0 })
	if got := q.text(fields{"model": other}); got == want || got == "" { // at the same port
		t.Errorf("another model: %q", got)
	}
	if got := q.text(nil); got != want {
		t.Errorf("after another model took the port: %q, before: %q", got, want)
	}
}

// An idle stop is no failure of the next request.
func TestIdleStop(t *testing.T) {
	w := newWorld(t)
	q := w.queen(nil, "--idle-timeout", "100ms")
	want := q.text(nil)
	w.until("the idle worker is gone", func() bool { return len(w.procs("llm-worker-rbee")) == 0 })
	if got := q.text(nil); got != want {
		t.Errorf("after the idle stop: %q, before: %q", got, want)
	}
}

// A hive that was killed is replaced. A request at that very moment may meet its
// worker at its end, and is told so.
func TestHiveIsReplaced(t *testing.T) {
	w := newWorld(t)
	q := w.queen(nil)
	want := q.text(nil)
	for range 3 {
		worker := w.proc("llm-worker-rbee")
		signal(t, w.proc("rbee-hive"), syscall.SIGKILL)
		if a := q.post(nil); a.status != 200 && a.code() != core.WorkerCrashed {
			t.Errorf("at the hive's end: %d %s", a.status, a.body)
		}
		// Its worker may answer until it ends, too, and ends whatever it answers then.
		w.until("the hive's worker is gone", func() bool { return !slices.Contains(w.procs("llm-worker-rbee"), worker) })
		if got := q.text(nil); got != want {
			t.Errorf("after the hive's end: %q, before: %q", got, want)
		}
	}
}

// A node that goes down under a queue of tasks, and cannot come up again, fails
// the tasks and nothing else.
func TestNodeGoesDown(t *testing.T) {
	w := newWorld(t)
	q := w.queen(nil)
	model := q.imported(bigModel(t, 2))
	var tasks []<-chan error
	for range 4 {
		tasks = append(tasks, q.begin(model, 2000))
	}
	queued := make(chan answer, 4)
	for range cap(queued) {
		go func() { queued <- q.post(fields{"model": model, "prompt": "a b"}) }()
	}
	w.until("they are queued", func() bool {
		list, err := q.client.Tasks(t.Context())
		return err == nil && len(list.Tasks) == 8
	})
	db := filepath.Join(w.home, ".rbee", "models.db") // as a directory no hive can open it
	for _, err := range []error{os.Rename(db, db+".old"), os.MkdirAll(filepath.Join(db, "x"), 0o700)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	signal(t, w.proc("rbee-hive"), syscall.SIGKILL)
	for _, task := range tasks {
		if err := <-task; err == nil {
			t.Error("an answer without its worker ended well")
		}
	}
	for range cap(queued) {
		if a := <-queued; a.status < 500 || a.code() == core.Internal {
			t.Errorf("a queued task: %d %s", a.status, a.body)
		}
	}
	w.healthyAt(q.url)
}

// In the place of an operator's hive that died the queen starts one of her own.
func TestOperatorsHiveIsReplaced(t *testing.T) {
	need(t, 9200)
	w := newWorld(t)
	hive := w.start("rbee-hive", "daemon")
	w.healthy(9200)
	q := w.queen(nil)
	want := q.text(nil)
	if list := q.hives(); len(list) != 1 || !list[0].Borrowed {
		t.Errorf("hives: %+v", list)
	}
	signal(t, command{hive.cmd.Process}, syscall.SIGKILL)
	hive.wait()
	if got := q.text(nil); got != want {
		t.Errorf("after the hive died: %q, before: %q", got, want)
	}
	if list := q.hives(); len(list) != 1 || list[0].Borrowed {
		t.Errorf("hives: %+v", list)
	}
	signal(t, command{q.cmd.Process}, syscall.SIGTERM)
	q.expect(143)
}

// An operator's hive that a persistent queen holds ends with her.
func TestOperatorsHiveEndsWithTheQueen(t *testing.T) {
	need(t, 9200)
	w := newWorld(t)
	hive := w.start("rbee-hive", "daemon")
	w.healthy(9200)
	q := w.queen(nil)
	q.up("localhost")
	signal(t, command{q.cmd.Process}, syscall.SIGTERM)
	q.expect(143)
	hive.expect(0)
}

// On SIGTERM new work is refused and what runs is finished.
func TestDrain(t *testing.T) {
	w := newWorld(t)
	q := w.queen([]string{"RBEE_LIMITS_WORKER_STOP=200ms", "RBEE_LIMITS_TERM_GRACE=200ms", "RBEE_LIMITS_DRAIN=60s"})
	model := q.imported(bigModel(t, 2))
	task := q.begin(model, 300)
	signal(t, command{q.cmd.Process}, syscall.SIGTERM)
	w.until("new work is refused", func() bool { a := q.post(nil); return a.status == 503 && a.code() == core.ShuttingDown })
	if err := <-task; err != nil {
		t.Errorf("the answer under way: %v", err)
	}
	q.expect(143)
}

// A drain has an end.
func TestDrainEnds(t *testing.T) {
	w := newWorld(t)
	q := w.queen([]string{"RBEE_LIMITS_DRAIN=100ms"})
	task := q.begin(q.imported(bigModel(t, 2)), 2000)
	signal(t, command{q.cmd.Process}, syscall.SIGTERM)
	if err := <-task; !errors.Is(err, core.ShuttingDown) {
		t.Errorf("the answer under way: %v", err)
	}
	q.expect(143)
}

// A second signal ends the drain, and not the queen's orderly end: her hive would
// wait for her return otherwise.
func TestSecondSignal(t *testing.T) {
	w := newWorld(t)
	q := w.queen([]string{"RBEE_LIMITS_DRAIN=10m", "RBEE_LIMITS_EOF_GRACE=10m"})
	task := q.begin(q.imported(bigModel(t, 2)), 2000)
	signal(t, command{q.cmd.Process}, syscall.SIGTERM)
	w.until("new work is refused", func() bool { return q.post(nil).code() == core.ShuttingDown })
	signal(t, command{q.cmd.Process}, syscall.SIGTERM)
	if err := <-task; !errors.Is(err, core.ShuttingDown) {
		t.Errorf("the answer under way: %v", err)
	}
	q.expect(143)
}

// A worker serves requests of its own shape only, and all of them.
func TestShape(t *testing.T) {
	w := newWorld(t)
	q := w.queen(nil)
	q.text(fields{"context_length": 64})
	q.text(fields{"context_length": 64})
	if n := len(w.procs("llm-worker-rbee")); n != 1 {
		t.Errorf("two requests of one shape: %d workers", n)
	}
	q.text(fields{"prompt": strings.Repeat("bees ", 60)}) // too long for that worker
	q.text(fields{"backend": "cpu", "device": 0})
	if n := len(w.procs("llm-worker-rbee")); n != 2 {
		t.Errorf("and two of the default shape: %d workers", n)
	}
	if a := q.post(fields{"backend": "cuda"}); a.code() != core.BackendUnavailable {
		t.Errorf("another backend: %d %s", a.status, a.body)
	}
}

// healthyAt fails when a daemon does not answer.
func (w *world) healthyAt(url string) {
	w.t.Helper()
	if _, err := client.New(url, client.Options{}).Health(w.t.Context()); err != nil {
		w.t.Errorf("%s: %v", url, err)
	}
}
