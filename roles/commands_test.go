package roles

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"rbee/core"
	"rbee/core/beacon"
)

// ask runs a command of the keeper against the queen, and returns its stdout.
func (q running) ask(args ...string) string {
	q.w.t.Helper()
	r := q.w.start("rbee", append(args, "--queen", q.url)...)
	r.expect(0)
	return r.stdout()
}

func TestPoolCommands(t *testing.T) {
	w := newWorld(t)
	q := w.queen(nil)
	q.up("localhost")
	model := bigModel(t, 2)

	if got := q.ask("where", model, "--ctx", "128"); !regexp.MustCompile(`→ +localhost +cpu 0 .* no +no +up`).MatchString(got) {
		t.Errorf("where, before: %s", got)
	}
	got := q.ask("load", model, "--ctx", "128", "--slots", "2")
	if !strings.Contains(got, "2 slots") {
		t.Errorf("load: %s", got)
	}
	worker := w.proc("llm-worker-rbee")
	w.until("where knows of the worker and the file", func() bool {
		return regexp.MustCompile(`→ +localhost +cpu 0 .* yes, 2 free +yes +up`).MatchString(q.ask("where", model, "--ctx", "128"))
	})
	if got := q.ask("where", model, "--ctx", "64"); !regexp.MustCompile(`→ +localhost +cpu 0 +yes +[0-9]+ MB .* no +yes +up`).MatchString(got) {
		t.Errorf("where, for another worker: %s", got)
	}
	id := string(q.workers()[0].ID)
	if got := q.ask("ps"); !strings.Contains(got, id) || !strings.Contains(got, fmt.Sprint(worker.PID)) {
		t.Errorf("ps: %s", got)
	}
	if got := q.ask("status"); !regexp.MustCompile(`(?m)^hive +localhost .* up +cpu 0: .* free`).MatchString(got) || !strings.Contains(got, id) {
		t.Errorf("status: %s", got)
	}
	if got := q.ask("logs", "--worker", id); !strings.Contains(got, "worker up") || strings.Contains(got, "queen up") {
		t.Errorf("logs of the worker: %s", got)
	}
	if got := q.ask("logs", "--node", "localhost"); !strings.Contains(got, "hive up") || strings.Contains(got, "queen up") {
		t.Errorf("logs of the hive: %s", got)
	}
	if got := q.ask("logs"); !strings.Contains(got, "queen up") || !strings.Contains(got, "hive up") || !strings.Contains(got, "worker up") {
		t.Errorf("logs of all: %s", got)
	}

	task := q.begin(string(core.ModelRef("file:"+model)), 2000)
	r := w.start("rbee", "unload", model, "--queen", q.url)
	r.expect(1, "is in use", "--force")
	q.ask("unload", model, "--force")
	if err := <-task; err == nil {
		t.Error("the answer of a worker that was unloaded ended well")
	}
	w.until("no worker is left", func() bool { return len(w.procs("llm-worker-rbee")) == 0 })
	r = w.start("rbee", "unload", model, "--queen", q.url)
	r.expect(1, "is not loaded")
	r = w.start("rbee", "load", "nowhere/model", "--queen", q.url)
	r.expect(1)
	r = w.start("rbee", "logs", "--node", "nowhere", "--queen", q.url)
	r.expect(1, "node nowhere has no hive now")
	signal(t, command{q.cmd.Process}, syscall.SIGTERM)
	q.expect(143)
}

// Lines that come are shown as they come.
func TestLogsFollow(t *testing.T) {
	w := newWorld(t)
	q := w.queen(nil)
	q.up("localhost")
	r := w.start("rbee", "logs", "--follow", "--queen", q.url)
	r.speak()
	q.text(nil)
	w.until("the worker's line is shown", func() bool { return strings.Contains(r.stdout(), "worker ready") })
	signal(t, command{r.cmd.Process}, syscall.SIGINT)
	r.expect(130)
	r = w.start("rbee", "logs", "--follow", "--queen", q.url)
	r.speak()
	signal(t, command{q.cmd.Process}, syscall.SIGTERM)
	q.expect(143)
	r.wait()
}

// stop ends the pool and proves it.
func TestStop(t *testing.T) {
	need(t, 8080, 9200)
	w := newWorld(t)
	q := w.start("queen-rbee", "daemon")
	w.healthy(8080)
	w.start("rbee", "infer", "what is a hive?", "--max-tokens", "5").expect(0)
	s := w.start("rbee", "stop")
	s.expect(0)
	if !regexp.MustCompile(`localhost: hive SIGTERM, 1 worker gone with \d+ MB, \d+ processes, ports .* closed, memory free .* → .*\nqueen gone, nothing left of 3 processes here, ports 8001 8080 9200 closed\n$`).MatchString(s.stdout()) {
		t.Errorf("stop: %s", s.stdout())
	}
	q.expect(0)
	if left := w.procs(""); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	w.start("rbee", "stop").expect(1, "no queen of yours runs")
}

// What is left is named, and is a failure: here a process that carries the mark and
// ignores SIGTERM, in a process group of its own.
func TestStopNamesWhatIsLeft(t *testing.T) {
	need(t, 8080, 9200)
	w := newWorld(t)
	q := w.start("queen-rbee", "daemon")
	h := w.healthy(8080)
	stray := exec.Command("sh", "-c", "trap '' TERM; echo up; exec sleep 1000")
	stray.Env = w.env("RBEE_RUN=" + h.Instance)
	stray.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := stray.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := stray.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stray.Process.Kill(); _ = stray.Wait() }()
	if _, err := out.Read(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	s := w.start("rbee", "stop")
	s.expect(1, "not everything has ended", fmt.Sprintf("left: sleep, pid %d", stray.Process.Pid))
	q.expect(0)
}

// With --all a hive without a queen ends, too.
func TestStopAll(t *testing.T) {
	need(t, 8080, 9200)
	w := newWorld(t)
	hive := w.start("rbee-hive", "daemon")
	w.healthy(9200)
	w.start("rbee", "stop", "--all").expect(0)
	hive.expect(0)
}

// A hive is found on any port; one that does not answer is named, and not passed over.
func TestStopAllAnyPort(t *testing.T) {
	need(t, 8080)
	w := newWorld(t)
	port := freePort(t)
	hive := w.start("rbee-hive", "daemon", "--listen", fmt.Sprintf("127.0.0.1:%d", port))
	w.healthy(port)
	signal(t, command{hive.cmd.Process}, syscall.SIGSTOP)
	w.until("it is stopped", func() bool {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", hive.cmd.Process.Pid))
		return strings.Contains(string(stat), ") T ")
	})
	w.start("rbee", "stop", "--all").expect(1, fmt.Sprintf("the hive of pid %d does not answer", hive.cmd.Process.Pid))
	signal(t, command{hive.cmd.Process}, syscall.SIGCONT)
	w.start("rbee", "stop", "--all").expect(0)
	hive.expect(0)
}

// A token that the user has made is what daemons demand from then on, and what the
// user's commands bring.
func TestTokenNew(t *testing.T) {
	need(t, 8080)
	w := newWorld(t)
	made := w.start("rbee", "token", "new")
	made.expect(0)
	if file := filepath.Join(w.home, ".config", "rbee", "token"); made.stdout() != file+"\n" {
		t.Errorf("token new: %q, want %s", made.stdout(), file)
	}
	w.start("rbee", "token", "new").expect(2, "there is a token in", "--replace")
	q := w.start("queen-rbee", "daemon")
	w.healthy(8080)
	if a := call(t, "GET", "http://127.0.0.1:8080/v2/workers", nil); a.code() != core.MissingAPIKey {
		t.Errorf("a stranger: %d %s", a.status, a.body)
	}
	w.start("rbee", "infer", "what is a hive?", "--max-tokens", "5").expect(0)
	w.start("rbee", "ps").expect(0)
	w.start("rbee", "stop").expect(0)
	q.expect(0)
}

// With --keep what was started stays for the next one, closed to strangers.
func TestKeep(t *testing.T) {
	w := newWorld(t)
	w.start("rbee", "infer", "--keep", "what is a hive?", "--max-tokens", "5").expect(0, "and stays")
	queen, worker := w.proc("queen-rbee"), w.proc("llm-worker-rbee")
	next := w.start("rbee", "infer", "what is a hive?", "--max-tokens", "5")
	next.expect(0)
	if now, same := w.proc("queen-rbee"), w.proc("llm-worker-rbee"); now != queen || same != worker || strings.Contains(next.stderr(), "hive up") {
		t.Errorf("the second one: %s", next.stderr())
	}
	up, ok := beacon.Find(filepath.Join(w.home, ".local", "state", "rbee"), "queen")
	if !ok {
		t.Fatal("the queen is not found")
	}
	if a := call(t, "GET", fmt.Sprintf("http://127.0.0.1:%d/v2/workers", up.Port), nil); a.code() != core.MissingAPIKey {
		t.Errorf("a stranger: %d %s", a.status, a.body)
	}
	w.start("rbee", "stop").expect(0)
	w.until("nothing is left", func() bool { return len(w.procs("")) == 0 })
}
