package hive

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"rbee/core/lease"
)

// What loses its parent, group, session and environment below a process that adopts
// stays in its tree.
func TestAdopt(t *testing.T) {
	if err := lease.Adopt(); err != nil {
		t.Fatal(err)
	}
	shell := exec.CommandContext(t.Context(), "sh", "-c", `setsid env -i /bin/sh -c 'echo $$; exec sleep 1000' & read wait`)
	in, err := shell.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := shell.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(line, &pid); err != nil {
		t.Fatal(err)
	}
	in.Close()
	_ = shell.Wait() // read fails at the end of stdin
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if want := fmt.Sprintf("PPid:\t%d\n", os.Getpid()); !strings.Contains(string(stat), want) {
		t.Errorf("the parent is not %q: %s", want, stat)
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	if _, err := syscall.Wait4(pid, nil, 0, nil); err != nil {
		t.Errorf("it cannot be reaped: %v", err)
	}
	if left := lease.Count("", 0, lease.Proc{PID: pid}).Procs; slices.ContainsFunc(left, func(l lease.Leftover) bool { return l.PID == pid }) {
		t.Errorf("counted when it is gone: %v", left)
	}
}
