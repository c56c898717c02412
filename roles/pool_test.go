package roles

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/client"
)

// hives are those of the queen's list.
func (q running) hives() []api.Hive {
	q.w.t.Helper()
	list, err := q.client.Hives(q.w.t.Context())
	if err != nil {
		q.w.t.Fatal(err)
	}
	return list.Hives
}

// up waits until a node's hive is up and has reported itself.
func (q running) up(node core.NodeName) (h api.Hive) {
	q.w.t.Helper()
	q.w.until(fmt.Sprintf("%s has joined", node), func() bool {
		for _, h = range q.hives() {
			if h.Node == node && h.State == "up" && len(h.ID) > 2 && h.ID[:2] == "h-" {
				return true
			}
		}
		return false
	})
	return h
}

// workers are those of the queen's list.
func (q running) workers() []api.Worker {
	q.w.t.Helper()
	list, err := q.client.QueenWorkers(q.w.t.Context())
	if err != nil {
		q.w.t.Fatal(err)
	}
	return list.Workers
}

// A persistent queen holds a hive of her own machine from the start, and brings it
// up again.
func TestQueenKeepsHiveUp(t *testing.T) {
	w := newWorld(t)
	q := w.queen(nil)
	first := q.up("localhost")
	if first.LastSeen.IsZero() || len(first.Devices) == 0 {
		t.Errorf("joined with %+v", first)
	}
	signal(t, w.proc("rbee-hive"), syscall.SIGKILL)
	w.until("another hive is up", func() bool { return q.up("localhost").ID != first.ID })
	signal(t, command{q.cmd.Process}, syscall.SIGTERM)
	q.expect(143)
	if left := w.procs(""); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// A queen that was killed and is back finds her hive and its workers.
func TestQueenComesBack(t *testing.T) {
	need(t, 8080, 9200)
	w := newWorld(t)
	grace := []string{"RBEE_LIMITS_EOF_GRACE=10m"}
	q := w.queen(grace)
	want := q.text(fields{"context_length": 512})
	hive, worker := w.proc("rbee-hive"), w.proc("llm-worker-rbee")
	signal(t, command{q.cmd.Process}, syscall.SIGKILL)
	q.wait()
	q = w.queen(grace)
	q.up("localhost")
	if list := q.workers(); len(list) != 1 || list[0].PID != worker.PID {
		t.Errorf("workers after her return: %+v, want pid %d", list, worker.PID)
	}
	if got := q.text(fields{"context_length": 512}); got != want {
		t.Errorf("after her return: %q, before: %q", got, want)
	}
	if h, one := w.proc("rbee-hive"), w.proc("llm-worker-rbee"); h != hive || one != worker {
		t.Errorf("hive and worker %v, %v; before her return %v, %v", h, one, hive, worker)
	}
	signal(t, command{q.cmd.Process}, syscall.SIGTERM)
	q.expect(143)
}

// Two queens of one user on one machine have a hive each: neither takes the other's
// from her, nor ends it.
func TestTwoQueens(t *testing.T) {
	w := newWorld(t)
	first := w.queen(nil)
	one := first.up("localhost")
	first.text(nil)
	hive, worker := w.proc("rbee-hive"), w.proc("llm-worker-rbee")
	second := w.queen(nil)
	if other := second.up("localhost"); other.ID == one.ID {
		t.Errorf("both hold hive %s", other.ID)
	}
	signal(t, command{second.cmd.Process}, syscall.SIGTERM)
	second.expect(143)
	if h, v := w.proc("rbee-hive"), w.proc("llm-worker-rbee"); h != hive || v != worker {
		t.Errorf("hive and worker of the first: %v, %v, were %v, %v", h, v, hive, worker)
	}
	signal(t, command{first.cmd.Process}, syscall.SIGTERM)
	first.expect(143)
}

// A hive that says nothing is suspected and then given up, and another one is
// brought up in its place.
func TestSilentHive(t *testing.T) {
	w := newWorld(t)
	q := w.queen([]string{
		"RBEE_LIMITS_HEARTBEAT=50ms", "RBEE_LIMITS_SUSPECT=500ms", "RBEE_LIMITS_GONE=4s",
		"RBEE_LIMITS_WORKER_STOP=200ms", "RBEE_LIMITS_TERM_GRACE=200ms",
	})
	first := q.up("localhost")
	hive := w.proc("rbee-hive")
	signal(t, hive, syscall.SIGSTOP)
	q.w.until("it is suspected", func() bool {
		list := q.hives()
		return len(list) == 1 && list[0].State == "suspect"
	})
	w.until("another hive is up", func() bool { return q.up("localhost").ID != first.ID })
	if now := w.proc("rbee-hive"); now == hive {
		t.Errorf("the silent hive is still there: %v", now)
	}
	signal(t, command{q.cmd.Process}, syscall.SIGTERM)
	q.expect(143)
}

// A node that cannot be reached delays nobody, and the list says why it is away.
func TestDeadNode(t *testing.T) {
	w := newWorld(t)
	q := w.queen(nil, "--node", "nowhere.invalid")
	q.up("localhost")
	q.text(nil)
	w.until("the list says why", func() bool {
		for _, h := range q.hives() {
			if h.Node == "nowhere.invalid" {
				return h.State == "gone" && h.Error != ""
			}
		}
		return false
	})
	signal(t, command{q.cmd.Process}, syscall.SIGTERM)
	q.expect(143)
}

// Where only one of two models fits, the one that nobody uses makes room for the
// other, every time; the one in use never does.
func TestSwap(t *testing.T) {
	w := newWorld(t)
	a, b := bigModel(t, 2), bigModel(t, 2)
	q := w.queen(nil)
	short := func(model string) fields { return fields{"model": model, "context_length": 128, "prompt": "a b c"} }
	want := q.text(short(q.imported(a)))
	needs := q.workers()[0].NeedsBytes
	signal(t, command{q.cmd.Process}, syscall.SIGTERM)
	q.expect(143)

	q = w.queen([]string{fmt.Sprintf("RBEE_MEMORY_MAX=%d", needs*3/2)})
	a, b = q.imported(a), q.imported(b)
	for i, model := range []string{a, b, a, b} {
		if got := q.text(short(model)); got != want {
			t.Errorf("answer %d: %q, want %q", i, got, want)
		}
		if n := len(w.procs("llm-worker-rbee")); n != 1 {
			t.Errorf("after answer %d: %d workers", i, n)
		}
	}
	long := short(b)
	long["max_tokens"], long["ignore_eos"] = 100, true
	asked := make(chan answer, 1)
	go func() { asked <- q.post(long) }()
	w.until("b is in use", func() bool { return slots(q.workers()) == 3 })
	if got := q.text(short(a)); got != want { // it waits for b to become idle
		t.Errorf("after a busy one: %q, want %q", got, want)
	}
	var r api.TaskResult
	if got := <-asked; json.Unmarshal([]byte(got.body), &r) != nil || r.TokensOut != 100 {
		t.Errorf("the answer under way: %d %s", got.status, got.body)
	}
	big := short(a)
	big["context_length"] = 2000
	if got := q.post(big); got.code() != core.InsufficientMemory || !strings.Contains(got.body, "required_bytes") {
		t.Errorf("what never fits: %d %s", got.status, got.body)
	}
	if n := len(w.procs("llm-worker-rbee")); n != 1 {
		t.Errorf("%d workers: one was ended for a model that does not fit", n)
	}
	signal(t, command{q.cmd.Process}, syscall.SIGTERM)
	q.expect(143)
}

// slots are those that are free.
func slots(list []api.Worker) (free int) {
	for _, v := range list {
		free += v.SlotsAvailable
	}
	return free
}

// A restart finishes what runs, and hands hive, workers and port over to the
// program's file as it is now.
func TestQueenRestarts(t *testing.T) {
	need(t, 8080, 9200)
	w := newWorld(t)
	grace := []string{"RBEE_LIMITS_EOF_GRACE=10m"}
	q := running{run: w.startEnv(grace, "queen-rbee", "daemon"), url: "http://127.0.0.1:8080"}
	w.healthy(8080)
	q.client = client.New(q.url, client.Options{})
	q.up("localhost")
	model := q.imported(bigModel(t, 2))
	task := q.begin(model, 200)
	hive, worker := w.proc("rbee-hive"), w.proc("llm-worker-rbee")
	for range 2 { // the second one has no child of her own
		r := w.start("rbee", "queen", "restart")
		r.expect(0)
		if !strings.Contains(r.stdout(), "the queen is rbee") {
			t.Errorf("restart: %q", r.stdout())
		}
		q.text(fields{"model": model}) // which was imported before
		q.up("localhost")
		if h, one := w.proc("rbee-hive"), w.proc("llm-worker-rbee"); h != hive || one != worker {
			t.Errorf("hive and worker %v, %v; before %v, %v", h, one, hive, worker)
		}
		w.until("the worker is known", func() bool { list := q.workers(); return len(list) == 1 && list[0].PID == worker.PID })
	}
	if err := <-task; err != nil {
		t.Errorf("the answer that was under way: %v", err)
	}
	w.start("rbee", "stop").expect(0)
	q.expect(0)
}

// A signal, or a call to end, that comes while a restart waits for an answer is heard.
func TestQueenEndsInRestart(t *testing.T) {
	for name, end := range map[string]func(*testing.T, running) int{
		"signal": func(t *testing.T, q running) int { signal(t, command{q.cmd.Process}, syscall.SIGTERM); return 143 },
		"call": func(t *testing.T, q running) int {
			if err := q.client.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
			return 0
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			q := w.queen([]string{"RBEE_LIMITS_EOF_GRACE=10m"})
			task := q.begin(q.imported(bigModel(t, 2)), 200)
			if err := q.client.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			status := end(t, q)
			if err := <-task; err != nil {
				t.Errorf("the answer that was under way: %v", err)
			}
			q.expect(status)
			if left := w.procs(""); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// A hive that is not seen to end is left, also when it had no workers.
func TestStopNamesHive(t *testing.T) {
	w := newWorld(t)
	port := freePort(t)
	hive := w.start("rbee-hive", "daemon", "--listen", fmt.Sprintf("127.0.0.1:%d", port))
	w.healthy(port)
	q := w.queen([]string{"RBEE_LIMITS_WORKER_STOP=200ms", "RBEE_LIMITS_TERM_GRACE=200ms"})
	q.up("localhost")
	signal(t, command{hive.cmd.Process}, syscall.SIGSTOP)
	var ended []api.Ended
	if err := q.client.Stop(t.Context(), func(e api.Ended) { ended = append(ended, e) }); err != nil {
		t.Error(err)
	}
	if len(ended) != 2 || ended[0].Left != 1 || ended[0].Error == "" {
		t.Errorf("got %+v, want a hive that is left", ended)
	}
	q.expect(0)
	signal(t, command{hive.cmd.Process}, syscall.SIGCONT)
	hive.expect(0)
}

// A queen does not become a program that cannot run.
func TestQueenRestartBroken(t *testing.T) {
	w := newWorld(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(w.home, "rbee")
	put := func(b []byte) {
		_ = os.Remove(file) // who runs goes on with the old one
		if err := os.WriteFile(file, b, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	put(whole)
	w.launch = func(c *exec.Cmd) error { c.Path = file; return c.Start() }
	q := w.queen(nil)
	q.up("localhost")
	put(whole[:100])
	if err := q.client.Restart(t.Context()); !errors.Is(err, core.Unsupported) || strings.Contains(err.Error(), w.home) {
		t.Errorf("restart: %v", err)
	}
	q.text(nil)
	signal(t, command{q.cmd.Process}, syscall.SIGTERM)
	q.expect(143)
}
