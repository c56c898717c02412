package lease_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"rbee/core/lease"
	"rbee/core/secure"
)

// script starts a shell with the mark of a run, in a group of its own, and returns it
// when it has said the pid of what is to be found.
func script(t *testing.T, run, text string, files ...*os.File) (shell *exec.Cmd, planted lease.Proc) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", text)
	cmd.Env = append(os.Environ(), lease.Mark+"="+run)
	cmd.ExtraFiles = files
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = planted.Signal(syscall.SIGKILL)
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(line, &pid); err != nil {
		t.Fatal(err)
	}
	if planted, err = lease.Find(pid); err != nil {
		t.Fatal(err)
	}
	return cmd, planted
}

func pids(list []lease.Leftover) (pids []int) {
	for _, p := range list {
		pids = append(pids, p.PID)
	}
	return pids
}

// A child that has left group, session and environment behind is found by descent,
// and after its parent's death by the count before.
func TestCensusByTree(t *testing.T) {
	run := secure.RandomID()
	shell, deaf := script(t, run, `setsid env -i /bin/sh -c 'trap "" TERM; echo $$; exec sleep 1000' & wait`)
	c := lease.Count(run, 0)
	if got := pids(c.Procs); !slices.Contains(got, deaf.PID) || !slices.Contains(got, shell.Process.Pid) {
		t.Fatalf("counted: %v, want %d and %d", got, shell.Process.Pid, deaf.PID)
	}
	if marked, _ := lease.Leftovers(run); slices.Contains(pids(marked), deaf.PID) {
		t.Fatal("the test's child carries the mark")
	}
	_ = deaf.Signal(syscall.SIGTERM)
	_ = shell.Process.Kill()
	_ = shell.Wait()
	if got := pids(c.Left()); !slices.Equal(got, []int{deaf.PID}) {
		t.Errorf("left: got %v, want %d", got, deaf.PID)
	}
	_ = deaf.Signal(syscall.SIGKILL)
	for deaf.Alive() {
	}
	if got := c.Left(); len(got) != 0 {
		t.Errorf("left at the end: %v", got)
	}
}

// Who holds a socket that was listened on is left, though nothing else ties it to the
// run; another socket on the same port is nobody's concern.
func TestCensusByPort(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	run := secure.RandomID()
	server, marked := script(t, run, `echo $$; exec sleep 1000`, f)
	_, stray := script(t, "another", `echo $$; exec sleep 1000`, f)
	f.Close()
	ln.Close()
	c := lease.Count(run, 0)
	if got := c.Ports(); !slices.Equal(got, []int{port}) {
		t.Fatalf("ports: got %v, want %d", got, port)
	}
	_ = marked.Signal(syscall.SIGKILL)
	_ = server.Wait()
	left := c.Left()
	if got := pids(left); !slices.Equal(got, []int{stray.PID}) {
		t.Fatalf("left: got %v, want %d", got, stray.PID)
	}
	if got := left[0].Describe(); !strings.Contains(got, fmt.Sprintf("sleep, pid %d, ", stray.PID)) || !strings.Contains(got, fmt.Sprintf("port %d", port)) {
		t.Errorf("described: %s", got)
	}
	_ = stray.Signal(syscall.SIGKILL)
	for stray.Alive() {
	}
	again, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got := c.Left(); len(got) != 0 {
		t.Errorf("left though the port is another's: %v", got)
	}
}

// A mapping of a file that has no name any more is named.
func TestDescribeUnlinked(t *testing.T) {
	file := filepath.Join(t.TempDir(), "weights of a model")
	if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := syscall.Mmap(int(f.Fd()), 0, 1<<20, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Munmap(b) }()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	got := lease.Leftover{Proc: lease.Proc{PID: os.Getpid()}, Name: "me"}.Describe()
	if want := "deleted file " + file + " (1024 kB mapped)"; !strings.Contains(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
}
