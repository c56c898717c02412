// Package machine says what this machine has: processors, memory, disk, GPUs. It
// never opens a device driver's context.
package machine

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"rbee/core"
)

// Memory is the machine's memory in bytes, within the limits of the control
// group this process runs in.
type Memory struct{ Total, Available int64 }

// Hostname returns the machine's name, "localhost" when it has none.
func Hostname() string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		return string(core.Localhost)
	}
	return name
}

// UsableCores returns how many threads may run at once: the affinity of this
// process, at most the quota of its control group rounded up, at least 1.
func UsableCores() int {
	cores := runtime.NumCPU() // the affinity at start
	if quota := groupQuota(); quota > 0 && quota < cores {
		cores = quota
	}
	return max(cores, 1)
}

// CPU returns the processor, with the machine's memory.
func CPU() core.Device {
	m := ReadMemory()
	return core.Device{Backend: core.CPU, Name: cpuName(), MemoryTotalBytes: m.Total, MemoryFreeBytes: m.Available}
}

// ReadMemory returns the memory as it is now; zeros where the system does not say.
func ReadMemory() Memory {
	b, _ := os.ReadFile("/proc/meminfo")
	m := parseMeminfo(b)
	own, _ := os.ReadFile("/proc/self/cgroup")
	if g := groupMemory(groupRoot, own); g.Total > 0 && (m.Total == 0 || g.Total < m.Total) {
		m.Total = g.Total
		m.Available = min(m.Available, g.Available)
	}
	m.Available = max(m.Available, 0)
	return m
}

// DiskFree returns how many bytes an ordinary user may still write below dir.
func DiskFree(dir string) (int64, error) {
	var st unix.Statfs_t
	for {
		err := unix.Statfs(dir, &st)
		if err == nil {
			return int64(st.Bavail) * st.Bsize, nil
		}
		if parent := filepath.Dir(dir); err == unix.ENOENT && parent != dir {
			dir = parent // it will be made there
			continue
		}
		return 0, fmt.Errorf("machine: disk of %s: %w", dir, err)
	}
}

// RSS returns the resident memory of a process in bytes, 0 when it is gone.
func RSS(pid int) int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	f := strings.Fields(string(b))
	if len(f) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(f[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

func cpuName() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// parseMeminfo reads /proc/meminfo, whose figures are in kB.
func parseMeminfo(b []byte) (m Memory) {
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		f := strings.Fields(s.Text())
		if len(f) < 2 {
			continue
		}
		kb, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			continue
		}
		switch f[0] {
		case "MemTotal:":
			m.Total = kb << 10
		case "MemAvailable:":
			m.Available = kb << 10
		}
	}
	return m
}

// groupRoot is where control groups are mounted: version 2 there, the controllers
// of version 1 in directories of their own.
const groupRoot = "/sys/fs/cgroup"

// groupDirs returns the directories of a process's control group and its parents,
// innermost first: each of them may set a limit. own is its /proc/PID/cgroup,
// controller one of version 1, or "" for version 2.
func groupDirs(root string, own []byte, controller string) (dirs []string) {
	below := parseCgroup(own, controller)
	if below == "" {
		return nil
	}
	for dir := below; ; dir = path.Dir(dir) {
		dirs = append(dirs, path.Join(root, controller, dir))
		if dir == "/" {
			return dirs
		}
	}
}

// parseCgroup returns the path in the hierarchy of a controller, in the unified one
// for "", and "" when there is none.
func parseCgroup(b []byte, controller string) string {
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3) // number, controllers, path
		if len(f) == 3 && slices.Contains(strings.Split(f[1], ","), controller) {
			return path.Clean("/" + f[2])
		}
	}
	return ""
}

// groupQuota returns the smallest CPU quota in cores, rounded up; 0 is none.
func groupQuota() (cores int) {
	own, _ := os.ReadFile("/proc/self/cgroup")
	for _, dir := range groupDirs(groupRoot, own, "") {
		b, _ := os.ReadFile(path.Join(dir, "cpu.max"))
		if n := parseQuota(string(b)); n > 0 && (cores == 0 || n < cores) {
			cores = n
		}
	}
	return cores
}

// parseQuota reads "QUOTA PERIOD" in microseconds; "max PERIOD" is no limit.
func parseQuota(text string) int {
	f := strings.Fields(text)
	if len(f) != 2 {
		return 0
	}
	quota, err1 := strconv.ParseInt(f[0], 10, 64)
	period, err2 := strconv.ParseInt(f[1], 10, 64)
	if err1 != nil || err2 != nil || quota <= 0 || period <= 0 {
		return 0
	}
	return int((quota + period - 1) / period)
}

// A hierarchy says how one version of control groups names its figures of memory.
type hierarchy struct{ controller, limit, used, cached string }

var hierarchies = []hierarchy{
	{"", "memory.max", "memory.current", "inactive_file"},
	{"memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"},
}

// groupMemory returns the smallest limit of the groups and what is free below the
// tightest of them; zeros when there is none. Files that nobody uses are in what a
// group uses, but the system gives their memory away before it refuses any.
func groupMemory(root string, own []byte) (m Memory) {
	for _, h := range hierarchies {
		for _, dir := range groupDirs(root, own, h.controller) {
			limit := readNumber(path.Join(dir, h.limit))
			if limit <= 0 {
				continue
			}
			free := limit - readNumber(path.Join(dir, h.used)) + readStat(path.Join(dir, "memory.stat"), h.cached)
			if m.Total == 0 {
				m = Memory{limit, free}
			}
			m = Memory{min(m.Total, limit), min(m.Available, free)}
		}
	}
	return m
}

// readStat returns a figure of a memory.stat, 0 when there is none.
func readStat(name, key string) int64 {
	b, _ := os.ReadFile(name)
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, key+" "); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			return n
		}
	}
	return 0
}

// readNumber returns the number in a file, 0 when there is none.
func readNumber(name string) int64 {
	b, _ := os.ReadFile(name)
	n, _ := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return n
}
