package fleettest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Machine is one of a fleet.
type Machine struct {
	Login

	f      *Fleet
	number int
	dir    string
	boots  int
	init   *keeper // its first process; nil without power
	inode  string  // of its PID namespace
}

// Path is a file in its home, which has the same name everywhere.
func (m *Machine) Path(names ...string) string {
	return filepath.Join(append([]string{m.dir, "home"}, names...)...)
}

func (m *Machine) addr() string { return fmt.Sprintf("10.9.0.%d", m.number) }

func (m *Machine) mac() string { return fmt.Sprintf("02:00:00:00:00:%02x", m.number) }

// port is its plug at the switch, a new one with each boot: an old one may take a
// moment to be gone.
func (m *Machine) port() string { return fmt.Sprintf("m%db%d", m.number, m.boots) }

func (m *Machine) pidFile() string { return filepath.Join(m.dir, "sshd.pid") }

// passwd makes its list of users: the system's, with the one who logs in.
func (m *Machine) passwd() error {
	b, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return err
	}
	lines := []string{fmt.Sprintf("%s:*:%d:%d::%s:%s", m.User, m.UID, m.UID, m.Path(), m.Shell)}
	for line := range strings.Lines(string(b)) {
		if !strings.HasPrefix(line, m.User+":") {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	return write(filepath.Join(m.dir, "passwd"), strings.Join(lines, "\n")+"\n")
}

// sshd makes host key and configuration, and returns the key's public half.
func (m *Machine) sshd(user string) (host string, err error) {
	key := filepath.Join(m.dir, "host")
	if err := keygen(key); err != nil {
		return "", err
	}
	if err := write(m.Path(".ssh/authorized_keys"), user); err != nil {
		return "", err
	}
	lines := append([]string{
		"HostKey " + key, "PidFile " + m.pidFile(), "UsePAM no", "StrictModes no", "UseDNS no",
		"PasswordAuthentication no", "PermitRootLogin prohibit-password", "SetEnv " + strings.Join(m.f.opts.Env, " "),
	}, m.Options...)
	if err := write(filepath.Join(m.dir, "sshd_config"), strings.Join(lines, "\n")+"\n"); err != nil {
		return "", err
	}
	pub, err := os.ReadFile(key + ".pub")
	return string(pub), err
}

// boot gives it power: namespaces, a plug at the switch, addresses, sshd. Who is
// where on the network is known from the start: a machine that is off is silence
// and not an error of the neighbour table.
func (m *Machine) boot() (err error) {
	m.boots++
	_ = os.Remove(m.pidFile())
	if m.init, err = keep(m.script(), syscall.CLONE_NEWNET|syscall.CLONE_NEWPID|syscall.CLONE_NEWNS|syscall.CLONE_NEWUTS); err != nil {
		return err
	}
	if m.inode, err = os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", m.init.cmd.Process.Pid)); err != nil {
		return err
	}
	if err := m.plug(); err != nil {
		return err
	}
	return m.await()
}

// script is what its first process does.
func (m *Machine) script() string {
	var b strings.Builder
	fmt.Fprintf(&b, "set -e\nmount --make-rprivate /\nmount -t proc proc /proc\nmount --bind %s/passwd /etc/passwd\n", m.dir)
	fmt.Fprintf(&b, "read plugged\necho %s > /proc/sys/kernel/hostname\nip link set lo up\nip addr add %s/24 dev eth0\nip link set eth0 up\n", m.Name, m.addr())
	for _, other := range m.f.machines {
		if other != m {
			fmt.Fprintf(&b, "ip neigh add %s lladdr %s dev eth0 nud permanent\n", other.addr(), other.mac())
		}
	}
	if m != m.f.Home {
		fmt.Fprintf(&b, "/usr/sbin/sshd -f %s/sshd_config -E %s/log\n", m.dir, m.dir)
	} else {
		fmt.Fprintf(&b, "echo $$ > %s\n", m.pidFile())
	}
	b.WriteString("read nothing\n")
	return b.String()
}

// plug connects it with the switch.
func (m *Machine) plug() error {
	netns := fmt.Sprint(m.init.cmd.Process.Pid)
	for _, argv := range [][]string{
		{"ip", "link", "add", m.port(), "type", "veth", "peer", "name", "eth0", "address", m.mac(), "netns", netns},
		{"ip", "link", "set", m.port(), "master", "br0", "up"},
	} {
		if err := m.f.hub.run([]string{"net"}, argv...); err != nil {
			return err
		}
	}
	return m.init.say("plugged")
}

// await waits until sshd listens, when it writes its pid.
func (m *Machine) await() error {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if b, err := os.ReadFile(m.pidFile()); err == nil && len(b) > 0 {
			return nil
		}
	}
	log, _ := os.ReadFile(filepath.Join(m.dir, "log"))
	return fmt.Errorf("fleettest: machine %s does not come up: %s", m.Name, log)
}

// PowerOff ends every process of the machine at once. Nobody hears of it: it is
// cut off first. A machine without power stays so.
func (m *Machine) PowerOff() {
	if m.init != nil {
		_ = m.f.link(m, "down")
		m.init.end()
		m.init, m.inode = nil, ""
	}
}

// PowerOn boots it again, with its disk as it was.
func (m *Machine) PowerOn() { must(m.f.t, m.boot()) }

// Cut cuts it off: packets vanish, both ways.
func (m *Machine) Cut() { must(m.f.t, m.f.link(m, "down")) }

// Heal undoes Cut.
func (m *Machine) Heal() { must(m.f.t, m.f.link(m, "up")) }

func (f *Fleet) link(m *Machine, state string) error {
	return f.hub.run([]string{"net"}, "ip", "link", "set", m.port(), state)
}

// Slow puts it on a line of so many kilobits a second, both ways.
func (m *Machine) Slow(kbits int) {
	rate := fmt.Sprintf("%dkbit", kbits)
	shape := func(k *keeper, dev string) error {
		return k.run([]string{"net"}, "tc", "qdisc", "replace", "dev", dev, "root", "tbf", "rate", rate, "burst", "16kb", "latency", "200ms")
	}
	must(m.f.t, errors.Join(shape(m.f.hub, m.port()), shape(m.init, "eth0")))
}

// Mute stops its sshd: who connects is let in by the kernel, and hears nothing.
func (m *Machine) Mute() {
	pid, err := os.ReadFile(m.pidFile())
	must(m.f.t, err)
	must(m.f.t, m.init.run([]string{"pid"}, "/bin/sh", "-c", "kill -STOP "+string(pid)))
}

// Runs tells whether a process, by its pid here, runs on the machine.
func (m *Machine) Runs(pid int) bool {
	inode, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
	return err == nil && m.inode == inode
}

// Start starts cmd on the machine, as the one who logs in. cmd.Process is a child
// of ours all the same.
func (m *Machine) Start(cmd *exec.Cmd) error {
	if m.init == nil {
		return fmt.Errorf("fleettest: machine %s is off", m.Name)
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(m.UID), Gid: uint32(m.UID)}
	cmd.Dir = m.Path()
	return m.init.start(cmd, []string{"net", "uts", "pid", "mnt"})
}

// start starts cmd in some of the keeper's namespaces. A thread goes there first,
// and is not used again.
func (k *keeper) start(cmd *exec.Cmd, namespaces []string) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := enter(k.cmd.Process.Pid, namespaces); err != nil {
			started <- err
			return
		}
		started <- cmd.Start()
	}()
	return <-started
}

// enter brings this thread into namespaces of a process; mnt must be the last.
func enter(pid int, namespaces []string) error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil { // else the mount namespace is refused
		return fmt.Errorf("fleettest: unshare: %w", err)
	}
	for _, name := range namespaces {
		fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, name), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("fleettest: namespace %s: %w", name, err)
		}
		err = unix.Setns(fd, 0)
		_ = unix.Close(fd)
		if err != nil {
			return fmt.Errorf("fleettest: namespace %s: %w", name, err)
		}
	}
	return nil
}
