package roles

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rbee/core/api"
	"rbee/core/lease"
)

// A world is a home directory of its own with everything that runs in it: real
// processes, found by a mark in their environment. What is left of it at the end
// of a test fails the test.
type world struct {
	t      testing.TB
	home   string
	mark   string
	launch func(*exec.Cmd) error // starts its programs

	patience time.Duration // that anything may take before the test gives up
}

const worldMark = "RBEE_TEST_WORLD"

const patience = 60 * time.Second

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{
		t: t, home: t.TempDir(), mark: fmt.Sprintf("%s-%d", strings.ReplaceAll(t.Name(), "/", "-"), os.Getpid()),
		launch: (*exec.Cmd).Start, patience: patience,
	}
	t.Cleanup(func() {
		w.until("nothing of this test is left", func() bool { return len(w.procs("")) == 0 })
		for _, p := range w.procs("") {
			_ = p.Signal(syscall.SIGKILL)
		}
	})
	return w
}

// procs are the live processes of the world, those of a name only if one is given.
func (w *world) procs(name string) (list []lease.Proc) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		env, err := os.ReadFile(dir + "/environ")
		if err != nil || !bytes.Contains(env, []byte(worldMark+"="+w.mark+"\x00")) {
			continue
		}
		comm, _ := os.ReadFile(dir + "/comm")
		var pid int
		if _, err := fmt.Sscanf(filepath.Base(dir), "%d", &pid); err != nil {
			continue
		}
		if p, err := lease.Find(pid); err == nil && (name == "" || strings.TrimSpace(string(comm)) == name) {
			list = append(list, p)
		}
	}
	return list
}

// proc is the one process of a name.
func (w *world) proc(name string) lease.Proc {
	w.t.Helper()
	var list []lease.Proc
	w.until("there is a "+name, func() bool { list = w.procs(name); return len(list) == 1 })
	return list[0]
}

// until waits for what others bring about.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(w.patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("in %v not true: %s; there are %v", w.patience, what, w.procs(""))
		}
	}
}

// env is the environment of the world's programs.
func (w *world) env(more ...string) []string {
	return append([]string{
		"HOME=" + w.home, "PATH=" + os.Getenv("PATH"), worldMark + "=" + w.mark, "GORACE=atexit_sleep_ms=0", noGrace,
	}, more...)
}

// A run is one command under way.
type run struct {
	w      *world
	cmd    *exec.Cmd
	ended  chan struct{}
	events chan api.Event // with --json

	mu             sync.Mutex // guards out and errs
	out, errs      bytes.Buffer
	lines          chan struct{} // one for each piece of stdout
	name           string
	stdoutDone     sync.WaitGroup
	closeStdoutNow func()
}

// start starts the program under one of its names.
func (w *world) start(name string, args ...string) *run { return w.startEnv(nil, name, args...) }

func (w *world) startEnv(env []string, name string, args ...string) *run {
	w.t.Helper()
	return w.startAs(nil, env, name, args...)
}

// startAs starts it as another user; nil is this one.
func (w *world) startAs(user *syscall.Credential, env []string, name string, args ...string) *run {
	w.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	r := &run{w: w, ended: make(chan struct{}), events: make(chan api.Event, 10_000), lines: make(chan struct{}, 100_000), name: name}
	r.cmd = &exec.Cmd{Path: exe, Args: append([]string{name}, args...), Env: w.env(env...), SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Credential: user}}
	if user != nil {
		r.cmd.Path = "/proc/self/exe" // the way to the file is closed to others
	}
	stdout, err := r.cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	r.closeStdoutNow = func() { stdout.Close() }
	r.cmd.Stderr = &locked{r: r}
	if err := w.launch(r.cmd); err != nil {
		w.t.Fatal(err)
	}
	r.stdoutDone.Go(func() { r.read(stdout) })
	go func() {
		r.stdoutDone.Wait()
		_ = r.cmd.Wait()
		close(r.ended)
	}()
	w.t.Cleanup(func() {
		_ = r.cmd.Process.Kill()
		<-r.ended
		if w.t.Failed() {
			w.t.Logf("%s %q\nstdout: %s\nstderr: %s", name, args, r.stdout(), r.stderr())
		}
	})
	return r
}

// read keeps stdout, and its events when it has some.
func (r *run) read(stdout io.Reader) {
	in := bufio.NewReader(stdout)
	var line []byte
	buf := make([]byte, 4096)
	for {
		n, err := in.Read(buf)
		r.mu.Lock()
		r.out.Write(buf[:n])
		r.mu.Unlock()
		if n > 0 {
			r.lines <- struct{}{}
		}
		line = append(line, buf[:n]...)
		for {
			one, rest, found := bytes.Cut(line, []byte("\n"))
			if !found {
				break
			}
			var head struct {
				Type string `json:"type"`
			}
			if json.Unmarshal(one, &head) == nil && head.Type != "" {
				if ev, err := api.DecodeEvent(head.Type, one); err == nil && ev != nil {
					r.events <- ev
				}
			}
			line = append([]byte(nil), rest...)
		}
		if err != nil {
			close(r.events)
			return
		}
	}
}

type locked struct{ r *run }

func (l *locked) Write(p []byte) (int, error) {
	l.r.mu.Lock()
	defer l.r.mu.Unlock()
	return l.r.errs.Write(p)
}

func (r *run) stdout() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.String()
}

func (r *run) stderr() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.errs.String()
}

// wait waits for the end and returns the exit status.
func (r *run) wait() int {
	r.w.t.Helper()
	select {
	case <-r.ended:
	case <-time.After(r.w.patience):
		r.w.t.Fatalf("%s did not end in %v; stderr: %s", r.name, r.w.patience, r.stderr())
	}
	return r.cmd.ProcessState.ExitCode()
}

// speak waits for the first of stdout.
func (r *run) speak() {
	r.w.t.Helper()
	select {
	case <-r.lines:
	case <-r.ended:
		r.w.t.Fatalf("%s ended without a word; stderr: %s", r.name, r.stderr())
	case <-time.After(r.w.patience):
		r.w.t.Fatalf("%s says nothing for %v; stderr: %s", r.name, r.w.patience, r.stderr())
	}
}

// reach waits for an event of --json that matches.
func (r *run) reach(what string, match func(api.Event) bool) {
	r.w.t.Helper()
	late := time.After(r.w.patience)
	for {
		select {
		case ev, ok := <-r.events:
			if !ok {
				r.w.t.Fatalf("stdout ended before %s; stderr: %s", what, r.stderr())
			}
			if match(ev) {
				return
			}
		case <-late:
			r.w.t.Fatalf("in %v not reached: %s; stderr: %s", r.w.patience, what, r.stderr())
		}
	}
}

// phase matches a narration.
func phase(action api.Action) func(api.Event) bool {
	return func(ev api.Event) bool {
		n, ok := ev.(*api.Narration)
		return ok && n.Action == action
	}
}

// token matches the n-th token.
func token(n int) func(api.Event) bool {
	return func(ev api.Event) bool {
		tok, ok := ev.(*api.Token)
		return ok && tok.Index >= n
	}
}

// ended checks exit status and what stderr says.
func (r *run) expect(status int, says ...string) {
	r.w.t.Helper()
	if got := r.wait(); got != status {
		r.w.t.Errorf("%s: exit status %d, want %d; stderr: %s", r.name, got, status, r.stderr())
	}
	for _, s := range says {
		if !strings.Contains(r.stderr(), s) {
			r.w.t.Errorf("%s: stderr does not say %q: %s", r.name, s, r.stderr())
		}
	}
}

// rbeeFiles are the files below ~/.rbee.
func (w *world) rbeeFiles() (names []string) {
	entries, _ := os.ReadDir(filepath.Join(w.home, ".rbee"))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// healthy waits until a daemon answers at a port, and returns what it says.
func (w *world) healthy(port int) (h api.Health) {
	w.t.Helper()
	w.until(fmt.Sprintf("port %d answers", port), func() bool {
		resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/health", port))
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return json.NewDecoder(resp.Body).Decode(&h) == nil
	})
	return h
}

// need takes ports for a test, which skips nobody: tests that need the well-known
// ports run one after the other.
func need(t testing.TB, ports ...int) {
	t.Helper()
	for _, p := range ports {
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
		if err != nil {
			t.Fatalf("port %d is taken, which this test needs: %v", p, err)
		}
		ln.Close()
	}
}
