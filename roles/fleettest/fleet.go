// Package fleettest is a fleet of machines for tests, on one machine.
//
// A machine is a network, a PID, a mount and a UTS namespace with a passwd, a
// home, and a host key of its own, and Debian's own sshd. All machines of a fleet
// hang on one switch, a bridge in a network namespace that is nobody's, so fleets
// run side by side and none meets the host's ports. A machine can be cut off and
// joined again, be put on a narrow line, and lose its power: then every process in
// it is gone at once, and not a packet of farewell gets out.
//
// It needs root, and the programs ip, tc, sshd and ssh-keygen.
package fleettest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rbee/core/config"
)

// A Login is as whom one logs in to a machine, and what its sshd allows.
type Login struct {
	Name    string // of the machine too: its alias in the home machine's ssh_config
	User    string
	UID     int
	Shell   string
	Options []string // lines of sshd_config
}

// The logins that differ.
var (
	Plain     = Login{Name: "plain", User: "pia", UID: 4001, Shell: "/bin/bash"}
	Root      = Login{Name: "root", User: "root", UID: 0, Shell: "/bin/bash"}
	Fish      = Login{Name: "fish", User: "fin", UID: 4002, Shell: "/usr/bin/fish"}
	NoForward = Login{Name: "noforward", User: "pia", UID: 4001, Shell: "/bin/bash", Options: []string{"AllowTcpForwarding no"}}
	home      = Login{Name: "home", User: "kim", UID: 4000, Shell: "/bin/bash"}
)

// Options are those of a fleet.
type Options struct {
	Env    []string // of every process that is started on a machine
	Divide int      // by which every limit is divided; 1: none is
	Exe    string   // what lies on each machine as ~/.local/bin/rbee
}

// A Fleet is a home machine, from which the others are reached by their names.
type Fleet struct {
	Dir  string // every machine sees it, and every user may read it
	Home *Machine

	t        testing.TB
	opts     Options
	machines map[string]*Machine
	hub      *keeper // of the switch's network namespace
}

// New starts a fleet. Its end is the test's.
func New(t testing.TB, o Options, logins ...Login) *Fleet {
	t.Helper()
	dir, err := os.MkdirTemp("", "fleet") //nolint:usetesting // t.TempDir is closed to other users
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	f := &Fleet{Dir: dir, t: t, opts: o, machines: map[string]*Machine{}}
	must(t, os.Chmod(dir, 0o755))
	must(t, os.MkdirAll("/run/sshd", 0o755)) // where sshd shuts away its unprivileged half
	f.hub, err = keep("read nothing", syscall.CLONE_NEWNET)
	must(t, err)
	t.Cleanup(f.hub.end)
	must(t, f.hub.run([]string{"net"}, "ip", "link", "add", "br0", "type", "bridge"))
	must(t, f.hub.run([]string{"net"}, "ip", "link", "set", "br0", "up"))
	for i, l := range append([]Login{home}, logins...) {
		f.machines[l.Name] = &Machine{Login: l, f: f, number: i + 1, dir: filepath.Join(dir, l.Name)}
	}
	f.Home = f.machines[home.Name]
	f.furnish(logins)
	for _, m := range f.machines {
		must(t, m.boot())
		t.Cleanup(m.PowerOff)
	}
	return f
}

// Machine returns one by its name.
func (f *Fleet) Machine(name string) *Machine { return f.machines[name] }

// Machines are all of them, the home machine included.
func (f *Fleet) Machines() (all []*Machine) {
	for _, m := range f.machines {
		all = append(all, m)
	}
	return all
}

// furnish makes the disks of the machines.
func (f *Fleet) furnish(logins []Login) {
	f.t.Helper()
	for _, m := range f.machines {
		must(f.t, os.MkdirAll(m.Path(".local/bin"), 0o755))
		must(f.t, os.MkdirAll(m.Path(".ssh"), 0o700))
		must(f.t, os.MkdirAll(m.Path(".config/rbee"), 0o755))
		must(f.t, write(m.Path(".config/rbee/config.toml"), f.limits()))
		must(f.t, share(f.opts.Exe, m.Path(".local/bin/rbee")))
		must(f.t, os.Symlink("rbee", m.Path(".local/bin/rbee-hive")))
		must(f.t, m.passwd())
	}
	key := f.Home.Path(".ssh/id_ed25519")
	must(f.t, keygen(key))
	pub, err := os.ReadFile(key + ".pub")
	must(f.t, err)
	var known, ssh strings.Builder
	for _, l := range logins {
		m := f.machines[l.Name]
		host, err := m.sshd(string(pub))
		must(f.t, err)
		fmt.Fprintf(&known, "%s %s", m.addr(), host)
		fmt.Fprintf(&ssh, "Host %s\n\tHostName %s\n\tUser %s\n", l.Name, m.addr(), l.User)
	}
	fmt.Fprintf(&ssh, "Host *\n\tIdentityFile %s\n\tUserKnownHostsFile %s\n\tGlobalKnownHostsFile /dev/null\n\tIdentityAgent none\n",
		key, f.Home.Path(".ssh/known_hosts"))
	must(f.t, write(f.Home.Path(".ssh/known_hosts"), known.String()))
	must(f.t, write(f.Home.Path(".ssh/config"), ssh.String()))
	for _, m := range f.machines {
		must(f.t, chown(m.Path(), m.UID))
	}
}

// limits is a config file with every limit divided.
func (f *Fleet) limits() string {
	var b strings.Builder
	b.WriteString("[limits]\n")
	for key, d := range config.DefaultLimits().All() {
		fmt.Fprintf(&b, "%s = %q\n", key, d/time.Duration(f.opts.Divide))
	}
	return b.String()
}

// A keeper is a process that keeps namespaces, and ends with this process: it
// reads from a pipe of ours.
type keeper struct {
	cmd  *exec.Cmd
	pipe io.WriteCloser
	once sync.Once
}

// keep runs a script in new namespaces.
func keep(script string, namespaces uintptr) (*keeper, error) {
	k := &keeper{cmd: exec.Command("/bin/sh", "-c", script)}
	k.cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	k.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces, Setpgid: true}
	var err error
	if k.pipe, err = k.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	return k, k.cmd.Start()
}

// say writes a line that the script waits for.
func (k *keeper) say(line string) error {
	_, err := io.WriteString(k.pipe, line+"\n")
	return err
}

// end kills it, and with the first process of a PID namespace all others.
func (k *keeper) end() {
	k.once.Do(func() {
		_ = k.cmd.Process.Kill()
		_ = k.cmd.Wait()
	})
}

// run runs a program in some of its namespaces.
func (k *keeper) run(namespaces []string, argv ...string) error {
	out := &strings.Builder{}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := k.start(cmd, namespaces); err != nil {
		return fmt.Errorf("fleettest: %v: %w", argv, err)
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("fleettest: %v: %w: %s", argv, err, out)
	}
	return nil
}

func keygen(file string) error {
	return exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file).Run()
}

func write(name, text string) error { return os.WriteFile(name, []byte(text), 0o644) }

// share makes a file appear at another place, without a copy where that can be.
func share(from, to string) error {
	if err := os.Link(from, to); err == nil {
		return os.Chmod(to, 0o755)
	}
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	return errors.Join(err, dst.Close())
}

// chown gives everything below dir to a user, but for what is shared.
func chown(dir string, uid int) error {
	return filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.Name() == "rbee" && d.Type().IsRegular() {
			return err
		}
		return os.Lchown(path, uid, uid)
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
