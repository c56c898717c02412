package hive

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"rbee/core"
	"rbee/core/api"
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
	there := lease.Count(markOf(hive), hive.Started, hive) // a queen on the same machine carries the mark, too, but is older
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
	if left := settled(there, time.Second/4); len(left) > 0 {
		return kill(left)
	}
	return json.NewEncoder(c.App.Writer).Encode(api.Gone{Processes: len(there.Procs), Ports: there.Ports()})
}

// settled gives what was there a moment to be gone, and returns what is not.
func settled(there lease.Census, most time.Duration) (left []lease.Leftover) {
	for end := time.Now().Add(most); ; {
		if left = there.Left(); len(left) == 0 || time.Now().After(end) {
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

// kill ends who would not end, and says who that was.
func kill(left []lease.Leftover) error {
	var names []string
	for _, l := range left {
		names = append(names, l.Describe())
		_ = l.Signal(syscall.SIGKILL) // it may be gone by now
	}
	return &core.Fault{Kind: core.Internal, What: "killed what did not end: " + strings.Join(names, "; ")}
}
