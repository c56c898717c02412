package roles

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/remote/sshdtest"
)

// A node is another home on this machine, reached by real SSH under the alias
// "node": its processes are of the test's world, their files are not.
type node struct {
	w    *world
	home string
	path string // for who is to call the node by its alias
	sshd *sshdtest.Server
}

// node is one that has our program. Its programs have more in their environment.
func (w *world) node(more ...string) node {
	w.t.Helper()
	n := w.bareNode(more...)
	exe, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := errors.Join(os.MkdirAll(n.bin(""), 0o700), os.Symlink(exe, n.bin("rbee"))); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// bareNode is one that has nothing of ours yet.
func (w *world) bareNode(more ...string) node {
	w.t.Helper()
	n := node{w: w, home: w.t.TempDir()}
	env := fmt.Sprintf("HOME=%s PATH=%s:/usr/bin:/bin %s=%s GORACE=atexit_sleep_ms=0 %s", n.home, n.bin(""), worldMark, w.mark, noGrace)
	n.sshd = sshdtest.Start(w.t, strings.Join(append([]string{"SetEnv"}, append(more, env)...), " ")) // of two with one name the first counts
	n.path = sshBy(w.t, n.sshd.Config())
	return n
}

// sshBy is a PATH whose ssh has a config of its own: it asks passwd for its home, not HOME.
func sshBy(t testing.TB, config string) string {
	t.Helper()
	ours := t.TempDir()
	script := "#!/bin/sh\nexec /usr/bin/ssh -F " + config + " \"$@\"\n"
	if err := os.WriteFile(filepath.Join(ours, "ssh"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return "PATH=" + ours + ":" + os.Getenv("PATH")
}

// nodes are several, and a PATH for who is to call them by their names.
func (w *world) nodes(names ...string) (map[string]node, string) {
	w.t.Helper()
	all, configs := map[string]node{}, ""
	for _, name := range names {
		n := w.node()
		b, err := os.ReadFile(n.sshd.Config())
		if err != nil {
			w.t.Fatal(err)
		}
		all[name] = n
		configs += strings.Replace(string(b), "Host node", "Host "+name, 1) + "\n"
	}
	file := filepath.Join(w.t.TempDir(), "ssh_config")
	if err := os.WriteFile(file, []byte(configs), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return all, sshBy(w.t, file)
}

// bin is where our program lies on the node.
func (n node) bin(name string) string { return filepath.Join(n.home, ".local", "bin", name) }

// The whole way to a node and back; then nothing of it is left.
func TestInferOverSSH(t *testing.T) {
	w := newWorld(t)
	n := w.node()
	r := w.startEnv([]string{n.path}, "rbee", "infer", "--node", "node", "--temperature", "0", "--max-tokens", "80", "how do I add a machine?")
	r.expect(0, "connecting to ", "hive up on node", "hive and 1 worker on node", "nothing left")
	if !strings.Contains(r.stdout(), "`rbee node add NAME`") {
		t.Errorf("stdout: %q", r.stdout())
	}
	if left := w.procs(""); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A file of this machine is copied, once.
func TestModelOverSSH(t *testing.T) {
	w := newWorld(t)
	n := w.node()
	q := w.queen([]string{n.path})
	model := q.imported(abs(t, guide))
	r := fields{"node": "node", "model": model, "raw": true}
	want := q.text(fields{"model": model, "raw": true})
	if got := q.text(r); got != want {
		t.Errorf("there: %q, here: %q", got, want)
	}
	blobs, _ := filepath.Glob(filepath.Join(n.home, ".local", "share", "rbee", "models", "*"))
	if len(blobs) == 0 {
		t.Error("the node has no copy")
	}
	for _, p := range w.procs("llm-worker-rbee") {
		signal(t, p, syscall.SIGKILL)
	}
	w.until("the workers are gone", func() bool { return len(w.procs("llm-worker-rbee")) == 0 })
	if got := q.text(r); got != want {
		t.Errorf("again: %q, before: %q", got, want)
	}
	list, err := q.client.Hives(t.Context())
	if err != nil || len(list.Hives) != 2 {
		t.Errorf("hives: %+v, %v", list, err)
	}
	signal(t, command{q.cmd.Process}, syscall.SIGTERM)
	q.expect(143)
}

// A node whose hive is killed under an answer fails it, and serves the next.
func TestHiveKilledOverSSH(t *testing.T) {
	w := newWorld(t)
	n := w.node()
	q := w.queen([]string{n.path})
	model := q.imported(bigModel(t, 2))
	prompt, zero := "a b c", 0.0
	var failed error
	for ev, err := range q.client.Task(t.Context(), api.TaskRequest{Model: core.ModelRef(model), Node: "node", Prompt: &prompt, Temperature: &zero}) {
		if err != nil {
			t.Fatal(err)
		}
		switch ev := ev.Event.(type) {
		case *api.Token:
			if ev.Index == 2 {
				for _, p := range w.procs("rbee-hive") {
					signal(t, p, syscall.SIGKILL)
				}
			}
		case *api.Failure:
			failed = ev.Err()
		}
	}
	if failed == nil || core.KindOf(failed) == core.Internal {
		t.Errorf("the answer under way: %v", failed)
	}
	if q.text(fields{"node": "node"}) == "" {
		t.Error("no answer after it")
	}
	signal(t, command{q.cmd.Process}, syscall.SIGTERM)
	q.expect(143)
}

// A killed queen says nothing of her nodes, and the keeper says that.
func TestNodeNotSeen(t *testing.T) {
	w := newWorld(t)
	n := w.node()
	r := w.startEnv([]string{n.path, "RBEE_LIMITS_BEAT_LOST=2s"}, "rbee", "infer", "--json", "--node", "node", "--model", bigModel(t, 2), "--temperature", "0", "a b c")
	r.reach("token 3", token(3))
	signal(t, w.proc("queen-rbee"), syscall.SIGKILL)
	r.expect(1, "Error: the queen ended", "node node: not seen; its lease ends it within 2s")
	w.until("nothing is left", func() bool { return len(w.procs("")) == 0 })
}

// An operator's hive on a node is used, under the node's name.
func TestOperatorsHiveOverSSH(t *testing.T) {
	need(t, 9200)
	w := newWorld(t)
	n := w.node()
	hive := w.startEnv([]string{"HOME=" + n.home}, "rbee-hive", "daemon")
	w.healthy(9200)
	r := w.startEnv([]string{n.path}, "rbee", "infer", "--node", "node", "--max-tokens", "5", "what is a hive?")
	r.expect(0, "using the hive that runs on node", "nothing left")
	if got := len(w.procs("rbee-hive")); got != 1 {
		t.Errorf("%d hives", got)
	}
	signal(t, command{hive.cmd.Process}, syscall.SIGINT)
	hive.expect(130)
}

// A queen that was killed and is back finds the hives of her nodes, on whatever port
// they are, and their workers.
func TestQueenComesBackOverSSH(t *testing.T) {
	w := newWorld(t)
	n := w.node("RBEE_LIMITS_EOF_GRACE=10m")
	env := []string{n.path, "RBEE_LIMITS_EOF_GRACE=10m"}
	q := w.queen(env, "--node", "node")
	q.up("localhost")
	q.up("node")
	want := q.text(fields{"node": "node"})
	hives, worker := w.procs("rbee-hive"), w.proc("llm-worker-rbee")
	signal(t, command{q.cmd.Process}, syscall.SIGKILL)
	q.wait()

	q = w.queen(env, "--node", "node")
	q.up("localhost")
	q.up("node")
	if list := q.workers(); len(list) != 1 || list[0].PID != worker.PID || list[0].Node != "node" {
		t.Errorf("workers after her return: %+v, want pid %d", list, worker.PID)
	}
	if got := q.text(fields{"node": "node"}); got != want {
		t.Errorf("after her return: %q, before: %q", got, want)
	}
	if now := w.procs("rbee-hive"); !slices.Equal(now, hives) {
		t.Errorf("hives %v, before her return %v", now, hives)
	}
	signal(t, command{q.cmd.Process}, syscall.SIGTERM)
	q.expect(143)
}
