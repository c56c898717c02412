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
// hive, which was started by her, and with it everything of the hive's run. First
// comes SIGTERM; who is left when a hive's time is nearly over is killed, the hive
// itself included, and that is an error which says who it was.
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
	// The second that a hive has more than its workers is the queen's, too: half of it.
	end := time.Now().Add(s.Limits.HiveStop() - time.Second/2)
	for left := remains(hive, run); len(left) > 0; left = remains(hive, run) {
		if time.Now().After(end) {
			return kill(left)
		}
		<-time.After(5 * time.Millisecond)
	}
	return nil
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
	f := &core.Fault{Kind: core.Internal, What: "not everything has ended by itself"}
	var names []string
	for _, l := range left {
		_ = l.Signal(syscall.SIGKILL) // it may be gone by now
		names = append(names, fmt.Sprintf("%s, pid %d", l.Name, l.PID))
	}
	f.What += ", killed: " + strings.Join(names, "; ")
	return f
}
