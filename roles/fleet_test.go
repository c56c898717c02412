package roles

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
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

// newFleet starts a fleet of nodes. It takes part in the run of make fleet-test and
// fleet-full, which say by RBEE_FLEET what the limits are divided by.
func newFleet(t *testing.T, logins ...fleettest.Login) *fleetWorld {
	t.Helper()
	divide, err := strconv.Atoi(os.Getenv("RBEE_FLEET"))
	if err != nil || divide < 1 {
		t.Skip("make fleet-test runs it, as root")
	}
	t.Parallel()
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
