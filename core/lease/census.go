package lease

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A Census is what there was of a run on this machine at one moment: the processes
// that carry its mark, all that descend from these, whatever they made of their
// environment, group and session, and the sockets on which they listened. A process
// that has left the tree before the count, and its environment, too, is not in it:
// hives adopt what their workers leave behind (Adopt), so that it stays in the tree.
type Census struct {
	Procs []Leftover

	run     string
	since   uint64
	sockets map[string]int // port by inode: a port may be another's by now, an inode is not
}

// Count counts what carries the mark of run and is no older than since, and the roots
// besides; with run "" these alone.
func Count(run string, since uint64, roots ...Proc) Census {
	c := Census{run: run, since: since, sockets: map[string]int{}}
	all := table()
	c.Procs = all.tree(c.marked(all, roots))
	listening := listeners()
	for _, p := range c.Procs {
		for inode := range sockets(p.PID) {
			if port, ok := listening[inode]; ok {
				c.sockets[inode] = port
			}
		}
	}
	return c
}

// Ports are those that were listened on.
func (c Census) Ports() []int {
	return slices.Compact(slices.Sorted(maps.Values(c.sockets)))
}

// Left is what lives of the run now: of the census, by mark and by descent, and who
// holds one of its listening sockets.
func (c Census) Left() []Leftover {
	all := table()
	roots := make([]Proc, 0, len(c.Procs))
	for _, p := range c.Procs {
		roots = append(roots, p.Proc)
	}
	return all.tree(append(c.marked(all, roots), c.holders(all)...))
}

// marked are the roots and what carries the mark.
func (c Census) marked(all processes, roots []Proc) (pids []int) {
	for _, p := range roots {
		if now, ok := all[p.PID]; ok && now.Started == p.Started {
			pids = append(pids, p.PID)
		}
	}
	if c.run == "" {
		return pids
	}
	left, _ := Leftovers(c.run)
	for _, p := range left {
		if p.Started >= c.since {
			pids = append(pids, p.PID)
		}
	}
	return pids
}

// holders are who holds a socket of the census that is still listened on.
func (c Census) holders(all processes) (pids []int) {
	listening := listeners()
	open := map[string]bool{}
	for inode := range c.sockets {
		if _, ok := listening[inode]; ok {
			open[inode] = true
		}
	}
	if len(open) == 0 {
		return nil
	}
	for pid := range all {
		for inode := range sockets(pid) {
			if open[inode] {
				pids = append(pids, pid)
				break
			}
		}
	}
	return pids
}

// processes are all of this machine, by pid.
type processes map[int]process

type process struct {
	Leftover
	parent int
}

func table() processes {
	all := processes{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		b, err := os.ReadFile(dir + "/stat")
		open, shut := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
		if err != nil || open < 0 || shut < open {
			continue // gone meanwhile
		}
		f := strings.Fields(string(b[shut+1:]))
		if len(f) < 20 || f[0] == "Z" || f[0] == "X" {
			continue
		}
		parent, _ := strconv.Atoi(f[1])
		started, _ := strconv.ParseUint(f[19], 10, 64)
		all[pid] = process{Leftover{Proc: Proc{pid, started}, Name: string(b[open+1 : shut])}, parent}
	}
	return all
}

// tree are the processes of these pids and all below them, but for this one and what
// only it has started.
func (all processes) tree(pids []int) (list []Leftover) {
	in := map[int]bool{}
	for _, pid := range pids {
		in[pid] = true
	}
	delete(in, os.Getpid())
	for grown := true; grown; {
		grown = false
		for pid, p := range all {
			if in[p.parent] && !in[pid] && pid != os.Getpid() {
				in[pid], grown = true, true
			}
		}
	}
	for pid := range in {
		if p, ok := all[pid]; ok {
			list = append(list, p.Leftover)
		}
	}
	slices.SortFunc(list, func(a, b Leftover) int { return cmp.Compare(a.PID, b.PID) })
	return list
}

// listeners are the TCP ports of this machine that are listened on, by inode.
func listeners() map[string]int {
	ports := map[string]int{}
	for _, name := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		b, _ := os.ReadFile(name) // a machine may have one only
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line) // sl local remote state … inode
			if len(f) < 10 || f[3] != "0A" {
				continue
			}
			port, err := strconv.ParseUint(f[1][strings.LastIndexByte(f[1], ':')+1:], 16, 16)
			if err == nil {
				ports[f[9]] = int(port)
			}
		}
	}
	return ports
}

// sockets are the inodes of a process's sockets.
func sockets(pid int) map[string]bool {
	list := map[string]bool{}
	for _, to := range descriptors(pid) {
		if inode, ok := strings.CutPrefix(to, "socket:["); ok {
			list[strings.TrimSuffix(inode, "]")] = true
		}
	}
	return list
}

// descriptors are what a process has open.
func descriptors(pid int) (list []string) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, _ := os.ReadDir(dir) // of another user: none
	for _, e := range entries {
		if to, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil {
			list = append(list, to)
		}
	}
	return list
}

// Describe says what a process is and what it holds: memory, ports, and files that
// have no name any more, whose space only its end gives back.
func (l Leftover) Describe() string {
	text := []string{l.Name, fmt.Sprintf("pid %d", l.PID)}
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", l.PID))
	for line := range strings.Lines(string(status)) {
		if kb, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			text = append(text, "memory "+strings.Join(strings.Fields(kb), " "))
		}
	}
	listening := listeners()
	for inode := range sockets(l.PID) {
		if port, ok := listening[inode]; ok {
			text = append(text, fmt.Sprintf("port %d", port))
		}
	}
	return strings.Join(append(text, unlinked(l.PID)...), ", ")
}

// unlinked are the deleted files that a process has open or mapped.
func unlinked(pid int) (list []string) {
	const gone = " (deleted)"
	files := map[string]int64{} // with the bytes that are mapped
	for _, to := range descriptors(pid) {
		if name, ok := strings.CutSuffix(to, gone); ok {
			files[name] += 0
		}
	}
	mapped, _ := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	for line := range strings.Lines(string(mapped)) {
		line, ok := strings.CutSuffix(strings.TrimSuffix(line, "\n"), gone)
		at := strings.IndexByte(line, '/')
		if !ok || at < 0 {
			continue
		}
		var from, to int64
		if _, err := fmt.Sscanf(line, "%x-%x", &from, &to); err == nil {
			files[line[at:]] += to - from
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		text := "deleted file " + name
		if n := files[name]; n > 0 {
			text += fmt.Sprintf(" (%d kB mapped)", n>>10)
		}
		list = append(list, text)
	}
	return list
}
