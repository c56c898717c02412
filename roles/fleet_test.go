package roles

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"rbee/core/lease"
	"rbee/roles/fleettest"
)

// A fleetWorld is a world whose programs run on a fleet's home machine, and by SSH
// on its nodes.
type fleetWorld struct {
	*world
	*fleettest.Fleet

	divide int // by which every limit is divided
}

// fleetTest makes a test part of the run of make fleet-test and fleet-full, which
// say by RBEE_FLEET what every limit is divided by.
func fleetTest(t *testing.T) (divide int) {
	t.Helper()
	divide, err := strconv.Atoi(os.Getenv("RBEE_FLEET"))
	if err != nil || divide < 1 {
		t.Skip("make fleet-test runs it, as root")
	}
	if os.Getuid() != 0 {
		t.Fatal("only root can make machines of namespaces")
	}
	return divide
}

// newFleet starts a fleet of nodes, at the same time as others.
func newFleet(t *testing.T, logins ...fleettest.Login) *fleetWorld {
	t.Helper()
	divide := fleetTest(t)
	t.Parallel()
	return makeFleet(t, divide, logins...)
}

// makeFleet starts a fleet with every limit divided.
func makeFleet(t testing.TB, divide int, logins ...fleettest.Login) *fleetWorld {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	f := fleettest.New(t, fleettest.Options{Env: []string{worldMark + "=" + w.mark, "GORACE=atexit_sleep_ms=0"}, Divide: divide, Exe: exe}, logins...)
	w.home, w.launch = f.Home.Path(), func(cmd *exec.Cmd) error {
		cmd.Path = f.Home.Path(".local/bin/rbee")
		return f.Home.Start(cmd)
	}
	if divide == 1 {
		w.patience = 4 * time.Minute
	}
	return &fleetWorld{w, f, divide}
}

// in is a real time on the fleet's clocks, with a margin for a busy machine when
// that is fast.
func (f *fleetWorld) in(real time.Duration) time.Duration {
	if f.divide == 1 {
		return real
	}
	return real/time.Duration(f.divide) + 10*time.Second
}

// alive lists who lives, as "machine:name", sorted, each once.
func (f *fleetWorld) alive() []string {
	var list []string
	for _, p := range f.procs("") {
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", p.PID))
		if err != nil {
			continue // gone meanwhile
		}
		where := "?"
		for _, m := range f.Machines() {
			if m.Runs(p.PID) {
				where = m.Name
			}
		}
		list = append(list, where+":"+strings.TrimSpace(string(comm)))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// on is the one process of a name on a machine.
func (f *fleetWorld) on(machine, name string) lease.Proc {
	f.t.Helper()
	var found []lease.Proc
	f.until("there is a "+name+" on "+machine, func() bool {
		found = slices.DeleteFunc(f.procs(name), func(p lease.Proc) bool { return !f.Machine(machine).Runs(p.PID) })
		return len(found) == 1
	})
	return found[0]
}

// share makes a file of the tests one that every machine may read.
func (f *fleetWorld) share(path string) string {
	f.t.Helper()
	to := filepath.Join(f.Dir, filepath.Base(path))
	if err := os.Rename(path, to); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Chmod(to, 0o644); err != nil {
		f.t.Fatal(err)
	}
	return to
}

// Every login gives an answer, and leaves nothing.
func TestFleetLogins(t *testing.T) {
	f := newFleet(t, fleettest.Plain, fleettest.Root, fleettest.Fish, fleettest.NoForward)
	for _, node := range []string{"plain", "root", "fish"} {
		r := f.start("rbee", "infer", "--node", node, "--temperature", "0", "--max-tokens", "40", "how do I add a machine?")
		r.expect(0, "connecting to ", "hive up on "+node, "nothing left")
		if !strings.HasPrefix(r.stdout(), "Run `rbee node add NAME`") {
			t.Errorf("%s: stdout: %q", node, r.stdout())
		}
		if left := f.procs(""); len(left) != 0 {
			t.Errorf("%s: left behind: %v", node, left)
		}
	}
	r := f.start("rbee", "infer", "--node", "noforward", "what is a hive?")
	r.expect(1, "Error: ", "AllowTcpForwarding yes")
}

// A node that does not answer is tried three times, each of them said; what trying
// again cannot mend ends at once.
func TestFleetUnreachable(t *testing.T) {
	fleetTest(t)
	const tries = "trying again: "
	tests := map[string]struct {
		spoil  func(*testing.T, *fleetWorld, *fleettest.Machine)
		says   string
		again  int
		within time.Duration
	}{
		"dead":   {func(_ *testing.T, _ *fleetWorld, m *fleettest.Machine) { m.PowerOff() }, "does not answer", 2, 35 * time.Second},
		"cut":    {func(_ *testing.T, _ *fleetWorld, m *fleettest.Machine) { m.Cut() }, "does not answer", 2, 35 * time.Second},
		"silent": {func(_ *testing.T, _ *fleetWorld, m *fleettest.Machine) { m.Mute() }, "no login", 2, 35 * time.Second},
		"wrong key": {func(t *testing.T, _ *fleetWorld, m *fleettest.Machine) {
			rewrite(t, m.Path(".ssh/authorized_keys"), "ssh-ed25519 ", "ssh-ed25519 AAAA")
		}, "refuses the login of pia", 0, 5 * time.Second},
		"changed host key": {func(t *testing.T, f *fleetWorld, m *fleettest.Machine) {
			known, err := os.ReadFile(f.Home.Path(".ssh/id_ed25519.pub")) // some other key
			if err != nil {
				t.Fatal(err)
			}
			b, _ := os.ReadFile(f.Home.Path(".ssh/known_hosts"))
			host, _, _ := strings.Cut(string(b), " ")
			if err := os.WriteFile(f.Home.Path(".ssh/known_hosts"), []byte(host+" "+string(known)), 0o644); err != nil {
				t.Fatal(err)
			}
		}, "has changed", 0, 5 * time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t, fleettest.Plain)
			tt.spoil(t, f, f.Machine("plain"))
			began := time.Now()
			r := f.start("rbee", "infer", "--node", "plain", "what is a hive?")
			r.expect(1, "connecting to ", tt.says, "Error: ", "Try: ")
			if took := time.Since(began); took > f.in(tt.within) {
				t.Errorf("it took %v", took)
			}
			if n := strings.Count(r.stderr(), tries); n != tt.again {
				t.Errorf("%d further tries were said, want %d: %s", n, tt.again, r.stderr())
			}
			f.until("nothing is left", func() bool { return len(f.procs("")) == 0 })
		})
	}
}

// rewrite replaces a text in a file.
func rewrite(t *testing.T, name, from, to string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err == nil {
		err = os.WriteFile(name, []byte(strings.ReplaceAll(string(b), from, to)), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A process that a worker has left behind, in a group of its own and deaf to
// SIGTERM, is found by its mark, killed and named, here and on a node.
func TestFleetPlanted(t *testing.T) {
	fleetTest(t)
	for _, node := range []string{"home", "plain"} {
		t.Run(node, func(t *testing.T) {
			f := newFleet(t, fleettest.Plain)
			args := []string{"infer", "--json", "--model", f.share(bigModel(t, 2)), "--temperature", "0", "--max-tokens", "1900", "a b c"}
			if node != "home" {
				args = append(args, "--node", node)
			}
			r := f.start("rbee", args...)
			r.reach("token 3", token(3))
			f.plant(node)
			signal(t, command{r.cmd.Process}, syscall.SIGTERM)
			r.expect(143, "not everything that was started has ended by itself", "killed", "sleep, pid ")
			f.until("nothing is left", func() bool { return len(f.procs("")) == 0 })
		})
	}
}

// plant starts a process with the environment of a machine's worker.
func (f *fleetWorld) plant(machine string) {
	f.t.Helper()
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", f.on(machine, "llm-worker-rbee").PID))
	if err != nil {
		f.t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", `trap "" TERM; exec sleep 1000`) // what is ignored stays so
	cmd.Env = strings.Split(strings.TrimSuffix(string(env), "\x00"), "\x00")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := f.Machine(machine).Start(cmd); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	f.on(machine, "sleep")
}

// A narrow line makes an answer slow, and nothing else.
func TestFleetSlow(t *testing.T) {
	f := newFleet(t, fleettest.Plain)
	f.Machine("plain").Slow(256)
	r := f.start("rbee", "infer", "--node", "plain", "--temperature", "0", "--max-tokens", "80", "how do I add a machine?")
	r.expect(0, "nothing left")
	if !strings.HasPrefix(r.stdout(), "Run `rbee node add NAME`") {
		t.Errorf("stdout: %q", r.stdout())
	}
}
