package hive

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"rbee/core"
	"rbee/core/lease"
	"rbee/roles/cmdline"
)

// stop is what a queen runs on a node over SSH, where she cannot see: it ends one
// hive, which she has started, and returns when nothing of its run is left. First
// comes SIGTERM. A hive that does not end in its time is killed, and its workers'
// leases end with it. What is left then is killed, too, and that is an error.
func stop(c *cli.Context) error {
	if !c.IsSet("pid") || !c.IsSet("started") {
		return &core.Fault{Kind: core.Invalid, What: "want --pid and --started", Try: "rbee hive stop --help"}
	}
	s, err := cmdline.Settings()
	if err != nil {
		return err
	}
	hive := lease.Proc{PID: c.Int("pid"), Started: c.Uint64("started")}
	run := markOf(hive)
	if err := hive.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, lease.ErrNotThere) {
		return err
	}
	// The second that a hive has more than its workers is the queen's, too.
	for end := time.Now().Add(s.Limits.HiveStop() - time.Second/2); hive.Alive(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(end) {
			_ = hive.Signal(syscall.SIGKILL) // it may be gone by now
			break
		}
	}
	if left := settled(hive, run, time.Second/4); len(left) > 0 {
		return kill(left)
	}
	return nil
}

// settled gives what lived by a hive a moment to be gone, and returns what is not.
func settled(hive lease.Proc, run string, most time.Duration) (left []lease.Leftover) {
	for end := time.Now().Add(most); ; {
		if left = remains(hive, run); len(left) == 0 || time.Now().After(end) {
			return left
		}
		<-time.After(5 * time.Millisecond)
	}
}

// markOf returns the run that a process belongs to; "" when it cannot be read.
func markOf(p lease.Proc) string {
	env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.PID))
	for v := range bytes.SplitSeq(env, []byte{0}) {
		if run, ok := strings.CutPrefix(string(v), lease.Mark+"="); ok && p.Alive() {
			return run
		}
	}
	return ""
}

// remains are the hive and what carries its mark. A queen on the same machine
// carries it, too: what is older than the hive does not come from it.
func remains(hive lease.Proc, run string) (left []lease.Leftover) {
	if run != "" {
		left, _ = lease.Leftovers(run)
	} else if hive.Alive() {
		left = []lease.Leftover{{Proc: hive, Name: "rbee-hive"}}
	}
	return slices.DeleteFunc(left, func(l lease.Leftover) bool { return l.Started < hive.Started })
}

// kill ends who would not end, and says who that was.
func kill(left []lease.Leftover) error {
	var names []string
	for _, l := range left {
		_ = l.Signal(syscall.SIGKILL) // it may be gone by now
		names = append(names, fmt.Sprintf("%s, pid %d", l.Name, l.PID))
	}
	return &core.Fault{Kind: core.Internal, What: "killed what did not end: " + strings.Join(names, "; ")}
}
