// Package machine says what this machine has: processors, memory, disk. It never
// opens a device driver's context.
package machine

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
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

// Devices returns what can compute here, the CPU first.
func Devices() []core.Device {
	m := ReadMemory()
	return []core.Device{{Backend: core.CPU, Name: cpuName(), MemoryTotalBytes: m.Total, MemoryFreeBytes: m.Available}}
}

// ReadMemory returns the memory as it is now; zeros where the system does not say.
func ReadMemory() Memory {
	b, _ := os.ReadFile("/proc/meminfo")
	m := parseMeminfo(b)
	limit, used := groupMemory()
	if limit > 0 && (m.Total == 0 || limit < m.Total) {
		m.Total = limit
		m.Available = min(m.Available, limit-used)
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

// groupDirs returns the directories of this process's control group (version 2)
// and its parents, innermost first: each of them may set a limit.
func groupDirs() (dirs []string) {
	b, _ := os.ReadFile("/proc/self/cgroup")
	own := parseCgroup(b)
	if own == "" {
		return nil
	}
	for dir := own; ; dir = path.Dir(dir) {
		dirs = append(dirs, path.Join("/sys/fs/cgroup", dir))
		if dir == "/" {
			return dirs
		}
	}
}

// parseCgroup returns the path of the unified hierarchy, "" when there is none.
func parseCgroup(b []byte) string {
	for line := range strings.Lines(string(b)) {
		if p, ok := strings.CutPrefix(strings.TrimSpace(line), "0::/"); ok {
			return path.Clean("/" + p)
		}
	}
	return ""
}

// groupQuota returns the smallest CPU quota in cores, rounded up; 0 is none.
func groupQuota() (cores int) {
	for _, dir := range groupDirs() {
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

// groupMemory returns the smallest memory limit and what is used below it; 0 is none.
func groupMemory() (limit, used int64) {
	for _, dir := range groupDirs() {
		n := readNumber(path.Join(dir, "memory.max"))
		if n > 0 && (limit == 0 || n < limit) {
			limit, used = n, readNumber(path.Join(dir, "memory.current"))
		}
	}
	return limit, used
}

// readNumber returns the number in a file, 0 when there is none.
func readNumber(name string) int64 {
	b, _ := os.ReadFile(name)
	n, _ := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return n
}
