package lease_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"rbee/core"
	"rbee/core/lease"
	"rbee/core/remote/sshdtest"
)

// A tree is one top with all below it. Every process is this test binary, so the
// race detector watches all of them.
type tree struct {
	t        *testing.T
	dir, run string
	top      *exec.Cmd
	topEnded chan struct{}
	stderr   *os.File // read end; closed to make the reader go away
}

var runs atomic.Int64

// web calls the daemons of a tree, which answer at once or never.
var web = &http.Client{Timeout: 10 * time.Second}

// newTree names a tree without starting it. Whatever is left of it fails the test.
func newTree(t *testing.T) *tree {
	t.Helper()
	tr := &tree{t: t, dir: t.TempDir(), run: fmt.Sprintf("tree-%d-%d", os.Getpid(), runs.Add(1))}
	t.Cleanup(func() {
		defer func() { // when empty has failed
			left, _ := lease.Leftovers(tr.run)
			for _, p := range left {
				t.Errorf("left behind: %v", p)
				p.Signal(syscall.SIGKILL)
			}
		}()
		tr.empty()
	})
	return tr
}

// grow starts a tree and waits until all of it is up.
func grow(t *testing.T, args ...string) *tree {
	t.Helper()
	tr := newTree(t)
	tr.start(args...)
	for _, role := range []string{"leaf", "middle", "top"} {
		tr.wait(role + ".up")
	}
	return tr
}

// start starts the top.
func (tr *tree) start(args ...string) {
	tr.t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		tr.t.Fatal(err)
	}
	tr.stderr = r
	tr.top = exec.Command("/proc/self/exe", append([]string{"top", "--dir", tr.dir, "--run", tr.run}, args...)...)
	tr.top.Stderr = w
	if err := tr.top.Start(); err != nil {
		tr.t.Fatal(err)
	}
	w.Close()
	tr.topEnded = make(chan struct{})
	go func() { defer close(tr.topEnded); tr.top.Wait() }()
	tr.t.Cleanup(func() { tr.top.Process.Kill(); <-tr.topEnded; r.Close() })
}

// wait waits for an event and returns what was noted.
func (tr *tree) wait(event string) (v up) {
	tr.t.Helper()
	json.Unmarshal([]byte(tr.said(event)), &v)
	return v
}

// said waits for an event and returns its text.
func (tr *tree) said(event string) string {
	tr.t.Helper()
	tr.until(event, func() bool { return tr.has(event) })
	b, _ := os.ReadFile(filepath.Join(tr.dir, event))
	return string(b)
}

func (tr *tree) has(event string) bool {
	_, err := os.Stat(filepath.Join(tr.dir, event))
	return err == nil
}

// want fails the test unless the event's text holds part.
func (tr *tree) want(event, part string) {
	tr.t.Helper()
	if got := tr.said(event); !strings.Contains(got, part) {
		tr.t.Errorf("%s: got %s, want %q in it", event, got, part)
	}
}

// until polls for a condition that others bring about.
func (tr *tree) until(what string, ok func() bool) {
	tr.t.Helper()
	for end := time.Now().Add(15 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			tr.t.Fatalf("in 15 s not true: %s", what)
		}
	}
}

// empty waits until nothing that carries the tree's mark is left, and says how
// long it took. The top carries none: its owner is the test.
func (tr *tree) empty() time.Duration {
	tr.t.Helper()
	began := time.Now()
	tr.until("nothing is left", func() bool { left, _ := lease.Leftovers(tr.run); return len(left) == 0 })
	return time.Since(began)
}

// carriers returns the flags of a top for each way to hold a middle.
var carriers = map[string]func(*testing.T) []string{
	"pipe": func(*testing.T) []string { return nil },
	"ssh": func(t *testing.T) []string {
		t.Helper()
		s := sshdtest.Start(t, "SetEnv GORACE=atexit_sleep_ms=0")
		return []string{"--ssh", filepath.Join(s.Dir, "ssh_config")}
	},
}

// Whatever ends the top or the middle, all below ends, in good order.
func TestEndsTogether(t *testing.T) {
	signals := map[string]syscall.Signal{
		"SIGKILL": syscall.SIGKILL, "SIGTERM": syscall.SIGTERM, "SIGHUP": syscall.SIGHUP,
		"SIGINT": syscall.SIGINT, "crash": syscall.SIGUSR1,
	}
	for carrier, flags := range carriers {
		t.Run(carrier, func(t *testing.T) {
			flags := flags(t)
			for _, level := range []string{"top", "middle"} {
				for name, sig := range signals {
					t.Run(level+"/"+name, func(t *testing.T) { endsTogether(t, flags, level, sig) })
				}
			}
		})
	}
}

func endsTogether(t *testing.T, flags []string, level string, sig syscall.Signal) {
	tr := grow(t, flags...)
	if err := tr.wait(level + ".up").Signal(sig); err != nil {
		t.Fatal(err)
	}
	t.Logf("all gone after %v", tr.empty())
	<-tr.topEnded
	tr.want("leaf.end", "alone")
	if level != "top" {
		return
	}
	tr.want("middle.end", "was asked") // it logs to nobody, and still ends its leaf by asking
	switch sig {
	case syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT:
		if got, want := tr.top.ProcessState.ExitCode(), 128+int(sig); got != want {
			t.Errorf("exit status of the top: got %d, want %d", got, want)
		}
		tr.want("top.end", "middle SIGTERM")
		tr.want("middle.end", "ended by terminated") // over SSH as root, too
	default:
		tr.want("middle.end", lease.ErrGone.Error())
	}
}

// The end of a leaf is seen at once, and the middle lives on.
func TestLeafEnds(t *testing.T) {
	tr := grow(t)
	if err := tr.wait("leaf.up").Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	tr.want("leaf.gone", "exit status 3")
	if !tr.wait("middle.up").Alive() {
		t.Error("the middle ended with its leaf")
	}
}

// The first line that nobody reads does not end a process before its orderly end.
func TestStderrReaderGone(t *testing.T) {
	tr := grow(t)
	tr.stderr.Close()
	tr.wait("top.up").Signal(syscall.SIGTERM)
	tr.empty()
	tr.want("middle.end", "was asked")
}

// A daemon that an operator starts in the background has no lease to lose.
func TestNoLease(t *testing.T) {
	tr := newTree(t)
	cmd := exec.Command("/proc/self/exe", "leaf", "--dir", tr.dir) // stdin at its end, fd 3 whoever's
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	resp, err := web.Post(tr.wait("leaf.up").URL+"/v1/shutdown", "application/json", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		t.Errorf("shutdown: got %s, want 202", resp.Status)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("leaf: got %v, want status 0", err)
	}
	tr.want("leaf.end", errAsked.Error())
}

func TestNotACarrier(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	tests := map[string]string{
		"fd:3": "neither a pipe nor a socket", "stdin": "neither a pipe nor a socket", // both /dev/null
		"fd:99": "bad file descriptor", "fd:0": "from 3 up", "fd:": "from 3 up", "fd:-1": "from 3 up", "x": "want fd:N",
	}
	for flag, want := range tests {
		t.Run(flag, func(t *testing.T) {
			cmd := exec.Command("/proc/self/exe", "leaf", "--dir", t.TempDir(), "--lease", flag)
			cmd.ExtraFiles = []*os.File{null}
			if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), want) {
				t.Errorf("--lease %s: got %s, %v; want %s", flag, out, err, want)
			}
		})
	}
}

// A stopped parent is not dead where a pipe says so, and dead where beats are due.
// Nobody reads the logs of either tree meanwhile.
func TestStoppedTop(t *testing.T) {
	local, far := grow(t), grow(t, carriers["ssh"](t)...)
	for _, tr := range []*tree{local, far} {
		top := tr.wait("top.up")
		top.Signal(syscall.SIGSTOP)
		defer top.Signal(syscall.SIGCONT)
	}
	for _, tr := range []*tree{local, far} {
		for _, role := range []string{"leaf.up", "middle.up"} {
			if resp, err := web.Post(tr.wait(role).URL+"/v1/chatter", "application/json", nil); err == nil {
				resp.Body.Close()
			} else if tr == local { // the far one may have ended meanwhile
				t.Errorf("chatter: %v", err)
			}
		}
	}
	far.empty()
	far.want("middle.end", "silent")
	far.want("middle.end", "was asked")
	if !local.wait("middle.up").Alive() || !local.wait("leaf.up").Alive() {
		t.Error("the local tree ended with a parent that only stood still")
	}
}

// A middle that stood still itself reads what waits before it calls anybody dead.
func TestStoppedMiddle(t *testing.T) {
	const lost = 500 * time.Millisecond
	tr := grow(t, append([]string{"--beat", "50ms", "--beat-lost", lost.String()}, carriers["ssh"](t)...)...)
	middle := tr.wait("middle.up")
	middle.Signal(syscall.SIGSTOP)
	time.Sleep(2 * lost) // the passing of time is the event
	middle.Signal(syscall.SIGCONT)
	time.Sleep(2 * lost)
	if !middle.Alive() {
		t.Errorf("the middle ended: %s", tr.said("middle.end"))
	}
}

// Who was released outlives its holder, and still ends by a signal.
func TestRelease(t *testing.T) {
	for carrier, flags := range carriers {
		t.Run(carrier, func(t *testing.T) {
			tr := grow(t, flags(t)...)
			tr.wait("top.up").Signal(syscall.SIGUSR2)
			tr.wait("released")
			tr.wait("top.up").Signal(syscall.SIGKILL)
			<-tr.topEnded
			middle := tr.wait("middle.up")
			resp, err := web.Post(middle.URL+"/v1/nothing", "application/json", nil)
			if err != nil {
				t.Fatalf("the middle is gone: %v, %s", err, tr.said("middle.end"))
			}
			resp.Body.Close()
			middle.Signal(syscall.SIGTERM)
			tr.empty()
			tr.want("middle.end", "terminated")
		})
	}
}

// A holder that is back within the grace finds everything.
func TestReturn(t *testing.T) {
	tr := grow(t, "--eof-grace", "10s", "--beat-lost", "500ms")
	tr.wait("top.up").Signal(syscall.SIGKILL)
	<-tr.topEnded
	middle := tr.wait("middle.up")
	r, w := io.Pipe()
	ctx, cut := context.WithCancel(t.Context())
	defer cut()
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, middle.URL+"/v1/leases/1", r)
	go func() {
		h, _ := lease.Hold(w, lease.Boot{Node: "back", Mode: core.Persistent})
		h.Beat(ctx, 50*time.Millisecond)
	}()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	tr.wait("returned")
	if !middle.Alive() || !tr.wait("leaf.up").Alive() {
		t.Error("not all lived until the holder was back")
	}
	cut()
	middle.Signal(syscall.SIGTERM) // which does not wait for another ten seconds of grace
	if took := tr.empty(); took > 5*time.Second {
		t.Errorf("after SIGTERM within the grace: gone after %v, want at once", took)
	}
	tr.want("middle.end", "terminated")
}

// A leaf that hangs is killed by its own watchdog when nobody else is there to do it.
func TestHungLeaf(t *testing.T) {
	for _, how := range []string{"call", "spin", "stuck"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			tr := grow(t, "--hang", how, "--end", "500ms")
			tr.wait("middle.up").Signal(syscall.SIGKILL)
			t.Logf("gone after %v of 500ms", tr.empty())
			if tr.has("leaf.end") {
				t.Error("the leaf ended in order: it did not hang")
			}
		})
		t.Run(how+" with its parent", func(t *testing.T) {
			t.Parallel()
			tr := grow(t, "--hang", how, "--end", "1s")
			tr.wait("top.up").Signal(syscall.SIGTERM)
			tr.empty()
			tr.want("middle.end", string(lease.Killed))
		})
	}
}
