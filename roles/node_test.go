package roles

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/remote/sshdtest"
)

// has puts a program on the node that only says a version.
func (n node) has(version string) {
	n.w.t.Helper()
	err := os.MkdirAll(n.bin(""), 0o700)
	if err == nil {
		err = os.WriteFile(n.bin("rbee"), []byte("#!/bin/sh\necho rbee "+version+"\n"), 0o700)
	}
	if err != nil {
		n.w.t.Fatal(err)
	}
}

// says is what a program on the node says of its version.
func (n node) says(name string) string {
	n.w.t.Helper()
	cmd := exec.Command("./"+name, "version")
	cmd.Dir = n.bin("")
	cmd.Args[0] = "rbee" // a kept test binary plays the program under that name only
	out, err := cmd.Output()
	if err != nil {
		n.w.t.Errorf("%s: %v", name, err)
	}
	return strings.TrimSpace(string(out))
}

// files are the names in a directory of the node.
func (n node) files(dir string) string {
	entries, _ := os.ReadDir(filepath.Join(n.home, dir))
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// sends is called by a test that sends the test binary. With the race detector in it
// that takes minutes; core/remote has a push for it.
func sends(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("the program is too large to be sent with -short")
	}
}

// infer asks for a short answer on the node.
func (n node) infer(more ...string) *run {
	n.w.t.Helper()
	return n.w.startEnv([]string{n.path}, "rbee", append([]string{"infer", "--node", "node", "--max-tokens", "5", "what is a hive?"}, more...)...)
}

// A node without our program gets it, once, and nothing else.
func TestPushOverSSH(t *testing.T) {
	sends(t)
	w := newWorld(t)
	n := w.bareNode()
	n.infer().expect(0, "rbee "+core.Version+" is on node: ", "MB sent in", "hive up on node", "nothing left")
	if got := n.files(".local/bin"); got != "rbee" || n.says("rbee") != "rbee "+core.Version {
		t.Errorf("the node has %q", got)
	}
	if got, home := n.files(".rbee"), n.files(""); got != "models.db" || home != ".local .rbee" && home != ".cache .local .rbee" {
		t.Errorf("the node has %q in .rbee and %q at home", got, home)
	}
	again := n.infer()
	again.expect(0, "hive up on node")
	if strings.Contains(again.stderr(), "sent in") {
		t.Errorf("sent again: %s", again.stderr())
	}
}

// An older program is replaced and kept; rollback puts it back.
func TestNodeUpgraded(t *testing.T) {
	sends(t)
	w := newWorld(t)
	n := w.bareNode()
	n.has("0.0.9")
	n.infer().expect(0, "; 0.0.9 is kept as rbee.old", "hive up on node")
	if got := n.files(".local/bin"); got != "rbee rbee.old" || n.says("rbee") != "rbee "+core.Version || n.says("rbee.old") != "rbee 0.0.9" {
		t.Errorf("the node has %q: %s and %s", got, n.says("rbee"), n.says("rbee.old"))
	}
	back := w.startEnv([]string{n.path}, "rbee", "node", "upgrade", "--rollback", "node")
	back.expect(0, "upgrades it again")
	if !strings.Contains(back.stdout(), "has rbee 0.0.9 again") || n.says("rbee") != "rbee 0.0.9" {
		t.Errorf("rollback: %s; it says %s", back.stdout(), n.says("rbee"))
	}
	w.startEnv([]string{n.path}, "rbee", "node", "upgrade", "node").expect(0)
	if n.says("rbee") != "rbee "+core.Version {
		t.Errorf("upgrade: it says %s", n.says("rbee"))
	}
}

// A newer program is nobody's to take away, but by force.
func TestNodeNewer(t *testing.T) {
	w := newWorld(t)
	n := w.bareNode()
	n.has("9.0.0")
	n.infer().expect(1, "Error: node node has rbee 9.0.0, this is "+core.Version, "Try: use the newer one here, too; or rbee node upgrade --force node")
	w.startEnv([]string{n.path}, "rbee", "node", "upgrade", "node").expect(1, "9.0.0")
	check := w.startEnv([]string{n.path}, "rbee", "node", "check", "node")
	check.expect(1, "9.0.0")
	if n.says("rbee") != "rbee 9.0.0" || n.files(".local/bin") != "rbee" {
		t.Errorf("it says %s", n.says("rbee"))
	}
	sends(t)
	w.startEnv([]string{n.path}, "rbee", "node", "upgrade", "--force", "node").expect(0)
	if n.says("rbee") != "rbee "+core.Version {
		t.Errorf("by force: it says %s", n.says("rbee"))
	}
}

// A hive of another version that runs on a node is left alone.
func TestHiveOfAnotherVersion(t *testing.T) {
	need(t, 9200)
	w := newWorld(t)
	n := w.node()
	ln, err := net.Listen("tcp", "127.0.0.1:9200")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var asked []string
	old := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.Method+" "+r.URL.Path)
		_ = json.NewEncoder(w).Encode(api.Health{Role: "hive", Mode: core.Persistent, Version: "0.0.9", Instance: "old"})
	})}
	go func() { _ = old.Serve(ln) }()
	defer old.Close()
	n.infer().expect(0, "the hive on port 9200 of node cannot be used: it is of version 0.0.9", "left alone", "hive up on node")
	w.startEnv([]string{n.path}, "rbee", "node", "upgrade", "node").expect(0, "the hive that runs on node is 0.0.9, and stays so")
	mu.Lock()
	defer mu.Unlock()
	for _, a := range asked {
		if a != "GET /health" {
			t.Errorf("it was asked: %s", a)
		}
	}
	if len(asked) == 0 {
		t.Error("nobody looked")
	}
}

// An unknown key ends the task, and is remembered only when it is trusted.
func TestHostKeyUnknown(t *testing.T) {
	w := newWorld(t)
	n := w.node()
	known := n.sshd.Node.KnownHosts[0]
	if err := os.Remove(known); err != nil {
		t.Fatal(err)
	}
	print := fingerprint(t, n.sshd)
	n.infer().expect(1, "Error: the host key of [127.0.0.1]:", "fingerprint: "+print, "Try: compare the fingerprint with the machine's, then: rbee node check --accept-new node")
	if _, err := os.Stat(known); err == nil {
		t.Error("known_hosts was written")
	}
	js := n.infer("--json")
	js.expect(1)
	if got := strings.Count(js.stdout(), `"HOST_KEY_UNKNOWN"`); got != 1 {
		t.Errorf("--json: the failure stands %d times in %s", got, js.stdout())
	}
	n.infer("--accept-new").expect(0, print, "hive up on node")
	n.infer().expect(0, "hive up on node")
}

// A queen that runs never asks: the keeper does, and she tries again. Elsewhere,
// which a URL may mean, known_hosts is not ours to write.
func TestHostKeyOfQueen(t *testing.T) {
	need(t, 8080)
	w := newWorld(t)
	n := w.node()
	if err := os.Remove(n.sshd.Node.KnownHosts[0]); err != nil {
		t.Fatal(err)
	}
	q := w.startEnv([]string{n.path, noGrace}, "queen-rbee", "daemon")
	w.healthy(8080)
	n.infer("--queen", "http://127.0.0.1:8080", "--accept-new").expect(1, "Error: the host key of [127.0.0.1]:")
	n.infer("--accept-new").expect(0, "is known from now on", "hive up on node")
	signal(t, command{q.cmd.Process}, syscall.SIGTERM)
	q.expect(143)
}

// A person is asked at the terminal, whatever stdout is.
func TestHostKeyAsked(t *testing.T) {
	tests := map[string]struct {
		answer string // %s is the fingerprint
		status int
	}{
		"yes": {"yes", 0}, "after nonsense": {"y\nyes", 0}, "the fingerprint": {"%s", 0}, "another fingerprint": {"SHA256:x", 1}, "no": {"no", 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			n := w.node()
			if err := os.Remove(n.sshd.Node.KnownHosts[0]); err != nil {
				t.Fatal(err)
			}
			print := fingerprint(t, n.sshd)
			answer := strings.ReplaceAll(tt.answer, "%s", print)
			screen, status := w.atTerminal(answer+"\n", []string{n.path}, "infer", "--node", "node", "--max-tokens", "5", "hi")
			if status != tt.status || !strings.Contains(screen, print) || !strings.Contains(screen, "Is it the right one") {
				t.Errorf("exit status %d, want %d: %s", status, tt.status, screen)
			}
			if _, err := os.Stat(n.sshd.Node.KnownHosts[0]); (err == nil) != (tt.status == 0) {
				t.Errorf("known_hosts: %v", err)
			}
		})
	}
}

// atTerminal runs rbee at a terminal of its own, types, and returns what is seen there.
func (w *world) atTerminal(typed string, env []string, args ...string) (screen string, status int) {
	w.t.Helper()
	master, tty := w.pseudoTerminal(80)
	defer master.Close()
	exe, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := &exec.Cmd{
		Path: exe, Args: append([]string{"rbee"}, args...), Env: w.env(env...), Stdin: tty, Stderr: tty,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, Setctty: true},
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	tty.Close()
	if _, err := master.WriteString(typed); err != nil {
		w.t.Fatal(err)
	}
	var seen bytes.Buffer
	_, _ = seen.ReadFrom(master) // ends with an error when nobody has the other side open
	_ = cmd.Wait()
	return seen.String(), cmd.ProcessState.ExitCode()
}

// fingerprint is that of a node's key, as ssh-keygen prints it.
func fingerprint(t *testing.T, s *sshdtest.Server) string {
	t.Helper()
	out, err := exec.Command("ssh-keygen", "-lf", filepath.Join(s.Dir, "host.pub")).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))[1]
}

// A changed key is refused with both fingerprints, whatever is accepted.
func TestHostKeyChanged(t *testing.T) {
	w := newWorld(t)
	n, other := w.node(), sshdtest.Start(t)
	pub, err := os.ReadFile(filepath.Join(other.Dir, "host.pub"))
	if err != nil {
		t.Fatal(err)
	}
	line := fmt.Sprintf("[%s]:%s %s", n.sshd.Node.Host, n.sshd.Node.Port, pub)
	if err := os.WriteFile(n.sshd.Node.KnownHosts[0], []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	n.infer("--accept-new").expect(1, "has changed", "fingerprint: "+fingerprint(t, n.sshd), "known: "+fingerprint(t, other), "Try: if you know why it changed: ssh-keygen -R")
	if b, _ := os.ReadFile(n.sshd.Node.KnownHosts[0]); string(b) != line {
		t.Errorf("known_hosts was changed: %s", b)
	}
}

// A node of our config is reached by its name, through a jump host too, also by a
// queen that ran before it was added.
func TestNodeAdded(t *testing.T) {
	w := newWorld(t)
	n := w.node()
	q := w.queen([]string{n.path})
	s := n.sshd.Node
	add := w.startEnv([]string{n.path}, "rbee", "node", "add", fmt.Sprintf("%s@%s:%s", s.User, s.Host, s.Port), "--name", "box", "--key", s.Keys[0], "--jump", "node", "--accept-new")
	add.expect(0)
	for _, want := range []string{"ok    login", "ok    tunnel", "ok    rbee", "ok    device", "node box is remembered in " + w.home} {
		if !strings.Contains(add.stdout(), want) {
			t.Errorf("node add does not say %q: %s", want, add.stdout())
		}
	}
	list := w.startEnv([]string{n.path}, "rbee", "node", "list")
	list.expect(0)
	if want := "via"; !strings.Contains(list.stdout(), "box") || !strings.Contains(list.stdout(), want) {
		t.Errorf("node list: %s", list.stdout())
	}
	if q.text(fields{"node": "box"}) == "" {
		t.Error("no answer from box")
	}
	w.startEnv([]string{n.path}, "rbee", "node", "rm", "box").expect(0)
	w.startEnv([]string{n.path}, "rbee", "node", "rm", "box").expect(1, "Error: node box is not in ", "Try: rbee node list")
	signal(t, command{q.cmd.Process}, syscall.SIGTERM)
	q.expect(143)
}

// The check names the step that fails, and what to do.
func TestNodeCheckFails(t *testing.T) {
	w := newWorld(t)
	n := w.bareNode()
	closed := sshdtest.Start(t, "AllowTcpForwarding no")
	tests := map[string]struct {
		path string
		says []string
	}{
		"forwarding": {"PATH=" + sshOf(t, closed) + ":" + os.Getenv("PATH"), []string{"FAIL  tunnel", "Try: AllowTcpForwarding yes", "ok    rbee"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := w.startEnv([]string{tt.path}, "rbee", "node", "check", "node")
			r.expect(1, "Error: node node cannot be used: ", "Try: ")
			for _, want := range tt.says {
				if !strings.Contains(r.stdout(), want) {
					t.Errorf("stdout does not say %q: %s", want, r.stdout())
				}
			}
		})
	}
	w.startEnv([]string{n.path}, "rbee", "node", "check", "node").expect(0)
	if got := n.files(""); got != "" {
		t.Errorf("the check left %q", got)
	}
}

// sshOf is a directory with an ssh that knows a node as "node".
func sshOf(t *testing.T, s *sshdtest.Server) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ssh"), []byte("#!/bin/sh\nexec /usr/bin/ssh -F "+s.Config()+" \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}
