package lease

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Mark is the environment variable by which what a run started is found again.
const Mark = "RBEE_RUN"

// ErrNotThere says that a process is gone, or that its pid is another's by now.
var ErrNotThere = errors.New("lease: no such process")

// A Proc is one process for ever: pids are used again, pid and start time are not.
type Proc struct {
	PID     int    `json:"pid"`
	Started uint64 `json:"started"` // clock ticks after boot: field 22 of /proc/PID/stat
}

// Find returns the process that has pid now. A zombie is gone: its memory is free.
func Find(pid int) (Proc, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Proc{}, fmt.Errorf("lease: pid %d: %w", pid, ErrNotThere)
	}
	// The name, field 2, may hold spaces and parentheses: count from its end.
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(f) < 20 || f[0] == "Z" || f[0] == "X" {
		return Proc{}, fmt.Errorf("lease: pid %d: %w", pid, ErrNotThere)
	}
	started, err := strconv.ParseUint(f[19], 10, 64)
	if err != nil {
		return Proc{}, fmt.Errorf("lease: pid %d: %w", pid, err)
	}
	return Proc{pid, started}, nil
}

// Alive tells whether p still runs.
func (p Proc) Alive() bool {
	now, err := Find(p.PID)
	return err == nil && now == p
}

// Signal sends sig to p and to no other process: os.FindProcess opens a pidfd,
// so the pid cannot change hands between the comparison and the signal.
func (p Proc) Signal(sig syscall.Signal) error {
	h, err := os.FindProcess(p.PID)
	if err != nil {
		return fmt.Errorf("lease: pid %d: %w", p.PID, err)
	}
	defer func() { _ = h.Release() }()
	if !p.Alive() {
		return fmt.Errorf("lease: pid %d: %w", p.PID, ErrNotThere)
	}
	if err := h.Signal(sig); err != nil {
		return fmt.Errorf("lease: pid %d: %w", p.PID, err)
	}
	return nil
}

// A Leftover is a process that carries a run's mark, with what ps calls it.
type Leftover struct {
	Proc
	Name string
}

// Leftovers returns the processes, but for this one, that carry the mark of run.
// unproven counts those whose environment may not be read: other users' ones, but
// never this user's unless they changed who they are.
func Leftovers(run string) (left []Leftover, unproven int) {
	return marked(func(mark string) bool { return mark == run })
}

// Orphans returns the processes that carry the mark of any run and whose parent is
// gone: whoever started them cannot end them any more.
func Orphans() []Leftover {
	all, _ := marked(func(string) bool { return true })
	return slices.DeleteFunc(all, func(l Leftover) bool { return !l.orphaned() })
}

// orphaned tells whether the process was given to the system's first one, or to a
// user's service manager.
func (p Proc) orphaned() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID))
	if err != nil {
		return false
	}
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(f) < 2 {
		return false
	}
	comm, _ := os.ReadFile("/proc/" + f[1] + "/comm")
	return f[1] == "1" || strings.TrimSpace(string(comm)) == "systemd"
}

// marked returns the processes, but for this one, whose mark matches.
func marked(match func(mark string) bool) (list []Leftover, unproven int) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if pid == os.Getpid() {
			continue
		}
		env, err := os.ReadFile(dir + "/environ")
		if errors.Is(err, os.ErrPermission) {
			unproven++
			continue
		}
		for v := range strings.SplitSeq(string(env), "\x00") {
			mark, ok := strings.CutPrefix(v, Mark+"=")
			if !ok || !match(mark) {
				continue
			}
			if p, err := Find(pid); err == nil {
				comm, _ := os.ReadFile(dir + "/comm")
				list = append(list, Leftover{p, strings.TrimSpace(string(comm))})
			}
			break
		}
	}
	return list, unproven
}

// SetName makes name, cut to 15 bytes, what ps and top call this process. After
// an exec of /proc/self/exe it is "exe". The file belongs to the first thread,
// which prctl from any other would miss.
func SetName(name string) error { return os.WriteFile("/proc/self/comm", []byte(name), 0) }
