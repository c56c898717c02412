package queen

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/client"
	"rbee/core/lease"
	"rbee/core/remote"
	"rbee/core/secure"
	"rbee/roles/cmdline"
)

// A tunnel is a connection to a node with the way back to us.
type tunnel struct {
	conn  *remote.Conn
	alias string // of the node
	back  string // the queen's URL, as the node sees it
	alive context.Context
	held  *holds
	cut   chan struct{} // closed when the connection is lost
	words sync.Mutex    // held while the node's last words are waited for: the connection stays
}

// lost tells whether the connection is seen to be gone.
func (t *tunnel) lost() bool {
	select {
	case <-t.cut:
		return true
	default:
		return false
	}
}

func (t *tunnel) close() {
	t.words.Lock()
	defer t.words.Unlock()
	_ = t.conn.Close()
}

// overSSH logs in, looks for an operator's hive and starts one otherwise.
func (f *fleet) overSSH(ctx context.Context, name core.NodeName, say narrator) (*link, error) {
	at, err := f.resolve(ctx, name)
	if err != nil {
		return nil, err
	}
	say.that(api.SSHConnect, fmt.Sprintf("connecting to %s", at))
	t, err := f.login(ctx, at, say)
	if err != nil {
		return nil, err
	}
	facts := soon(t, func() (remote.Facts, error) { return t.conn.Probe(ctx) })
	port := soon(t, func() (int, error) { return f.hiveThere(ctx, t) })
	if err := f.dig(ctx, t); err != nil {
		t.held.drop()
		return nil, err
	}
	l, err := f.borrowThere(ctx, name, t, port)
	if err == nil {
		say.that(api.HiveStart, fmt.Sprintf("using the hive that runs on %s", name))
	} else {
		if !errors.Is(err, errNoHive) {
			say.that(api.Note, fmt.Sprintf("the hive on port %d of %s cannot be used: %v", hivePort, name, err))
		}
		l, err = f.startThere(ctx, name, t, facts, say)
	}
	if err != nil {
		t.held.drop()
		return nil, err
	}
	l.silent = t.conn.Silent
	l.bulk = newBulk(f.base, func(ctx context.Context) (*tunnel, *client.Client, error) { return f.another(ctx, l, at) }) //nolint:contextcheck // it lives as long as the link
	l.held.add(l.bulk.close)
	return l, nil
}

// resolve says where a node is. The config is read anew: nodes are added while a
// queen runs.
func (f *fleet) resolve(ctx context.Context, name core.NodeName) (remote.Node, error) {
	s, err := cmdline.Settings()
	if err != nil {
		return remote.Node{}, err
	}
	return remote.Entry(s.Nodes[string(name)]).Resolve(ctx, string(name), f.sshConfig)
}

// login connects to a node and watches the connection.
func (f *fleet) login(ctx context.Context, at remote.Node, say narrator) (*tunnel, error) { //nolint:contextcheck // the connection lives as long as the link, not the task
	limits := f.q.d.Settings.Limits
	pauses := []time.Duration{200 * time.Millisecond, 400 * time.Millisecond}
	conn, err := remote.DialRetry(ctx, at, limits.SSHConnect, pauses, func(err error) { say.that(api.Note, "trying again: "+err.Error()) })
	if err != nil {
		return nil, err
	}
	alive, stop := context.WithCancel(f.base)
	t := &tunnel{conn: conn, alias: at.Alias, alive: alive, held: &holds{}, cut: make(chan struct{})}
	t.held.add(t.close)
	t.held.add(stop)
	t.held.run.Go(func() {
		if err := conn.Watch(alive, limits.Beat, limits.BeatLost); err != nil {
			f.q.d.Log.Warn("connection lost", "node", at.Alias, "error", err.Error())
		}
		close(t.cut)
		t.close() // whatever reads from it sees the end
	})
	return t, nil
}

// soon begins to ask a node for something, and returns what waits for the answer. The
// node is asked all at once: one question after the other costs a way each, and an
// sshd holds back its first small answers until those before are acknowledged.
func soon[T any](t *tunnel, ask func() (T, error)) (wait func() (T, error)) {
	var answer T
	var err error
	done := make(chan struct{})
	t.held.run.Go(func() {
		defer close(done)
		answer, err = ask()
	})
	return func() (T, error) {
		<-done
		return answer, err
	}
}

// dig makes the way back.
func (f *fleet) dig(ctx context.Context, t *tunnel) error {
	back, err := t.conn.Reverse(ctx, fmt.Sprintf("127.0.0.1:%d", f.q.port))
	if err != nil {
		f := &core.Fault{Kind: core.KindOf(err), What: err.Error(), Cause: err, Try: "ssh " + t.alias}
		if errors.Is(err, core.ForwardingForbidden) {
			f.Try = "set AllowTcpForwarding yes in the node's sshd_config"
		}
		return f
	}
	t.held.run.Go(func() { _ = back.Run(t.alive) }) // ends with the connection, which is watched
	t.back = fmt.Sprintf("http://127.0.0.1:%d", back.Port)
	return nil
}

// borrowThere holds the hive that runs on the node, if it is of the user as whom we
// have logged in: nobody else's is lent a token.
func (f *fleet) borrowThere(ctx context.Context, name core.NodeName, t *tunnel, port func() (int, error)) (*link, error) {
	at, err := port()
	if err != nil {
		return nil, err
	}
	l, err := f.borrow(ctx, name, at, t.back, t.conn.DialContext)
	if err != nil {
		return nil, err
	}
	l.held.add(t.held.drop) // first of all
	return l, nil
}

// hiveThere is the port of that hive: as its file says, for which the program must be
// there, or the usual one by the owner of its socket.
func (f *fleet) hiveThere(ctx context.Context, t *tunnel) (port int, err error) {
	const look = `{ command -v rbee >/dev/null && rbee hive find || "$HOME/.local/bin/rbee" hive find; } 2>/dev/null; echo; id -u; grep -hi ":%04X " /proc/net/tcp /proc/net/tcp6`
	said, _ := t.conn.Output(ctx, []string{"sh", "-c", fmt.Sprintf(look, hivePort)}) // grep fails when it finds nothing
	line, rest, _ := strings.Cut(string(said), "\n")
	var up api.Up
	if json.Unmarshal([]byte(line), &up) == nil && up.Port > 0 {
		return up.Port, nil
	}
	uid, tables, _ := strings.Cut(strings.TrimLeft(rest, "\n"), "\n")
	if !secure.Listens(tables, hivePort, uid) {
		return 0, errNoHive
	}
	return hivePort, nil
}

// startThere starts a hive of our own version on the node.
func (f *fleet) startThere(ctx context.Context, name core.NodeName, t *tunnel, facts func() (remote.Facts, error), say narrator) (*link, error) {
	what, err := facts()
	if err != nil {
		return nil, err
	}
	exe, err := f.program(ctx, name, t.conn, what, say)
	if err != nil {
		return nil, err
	}
	limits := f.q.d.Settings.Limits
	argv := append([]string{exe, "hive", "daemon", "--lease", "stdin"}, f.q.hiveArgs...)
	proc, err := t.conn.Start(ctx, argv, f.q.d.Instance, f.boot(name, t.back), f.q.d.LogTo)
	if err != nil {
		return nil, err
	}
	t.held.run.Go(func() { _ = proc.Lease.Beat(t.alive, limits.Beat) })
	up, err := f.firstWord(ctx, name, proc)
	if err != nil {
		return nil, err
	}
	c := client.New(fmt.Sprintf("http://127.0.0.1:%d", up.Port), client.Options{Token: f.q.token, DialContext: t.conn.DialContext})
	t.held.add(c.Close)
	l := &link{id: secure.RandomID(), node: name, hive: c, gone: proc.Done(), held: t.held}
	l.end = func(ctx context.Context, e *api.Ended) {
		l.endThere(ctx, e, t, exe, lease.Proc{PID: up.PID, Started: up.Started})
	}
	l.after = func(ctx context.Context, e *api.Ended) { f.lookThere(ctx, e, t.conn, exe) }
	if l.info, err = f.awaitHealth(ctx, c, proc.Done(), proc.Err); err != nil {
		f.end(l) //nolint:contextcheck // an end has its own time
		return l, err
	}
	say.that(api.HiveStart, fmt.Sprintf("hive up on %s", name))
	return l, nil
}

// program finds this version of ours on the node, or puts it there. What runs there
// goes on with the program that it was started from.
func (f *fleet) program(ctx context.Context, name core.NodeName, conn *remote.Conn, facts remote.Facts, say narrator) (string, error) {
	said := time.Now()
	got, err := conn.Provide(ctx, facts, remote.Pushing{Stall: f.q.d.Settings.Limits.HiveUp, Progress: func(sent, total int64) {
		if time.Since(said) > 200*time.Millisecond {
			said = time.Now()
			say.comment("rbee to %s: %d of %d MB", name, sent/1e6, total/1e6)
		}
	}})
	if err == nil && got.Bytes > 0 {
		say.that(api.Push, fmt.Sprintf("rbee %s is on %s: %.1f MB sent in %.1f s%s", core.Version, name, float64(got.Bytes)/1e6, got.Took.Seconds(), replaced(got)))
	}
	return got.Path, err
}

// replaced says what lay there before.
func replaced(i remote.Install) string {
	if i.Was == "" {
		return ""
	}
	return fmt.Sprintf("; %s is kept as rbee.old", i.Was)
}

// firstWord reads the line that says where the hive listens.
func (f *fleet) firstWord(ctx context.Context, name core.NodeName, proc *remote.Process) (up api.Up, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, f.q.d.Settings.Limits.HiveUp, &core.Fault{Kind: core.ConnectionTimeout, What: fmt.Sprintf("the hive on %s does not come up", name)})
	defer cancel()
	line, err := proc.FirstLine(ctx)
	if err != nil {
		return up, &core.Fault{Kind: core.NodeUnreachable, What: fmt.Sprintf("the hive on %s did not start: %v", name, err), Cause: err}
	}
	if json.Unmarshal(line, &up) != nil {
		err = &core.Fault{Kind: core.NodeUnreachable, What: fmt.Sprintf("node %s answers %.80q instead of a hive's first line", name, line), Try: "the shell there must print nothing when it starts"}
	}
	return up, err
}

// endThere ends a hive over SSH: by our own program there, which sees that nothing
// of it is left, else by a call, else by the end of its lease.
func (l *link) endThere(ctx context.Context, e *api.Ended, t *tunnel, exe string, p lease.Proc) {
	e.Hive = string(lease.Termed)
	t.words.Lock()
	said, err := t.conn.Kill(ctx, exe, p)
	t.words.Unlock()
	_ = json.Unmarshal([]byte(said), &e.Gone) // empty when it failed
	if err != nil && l.alive() && l.hive.Shutdown(ctx) == nil {
		e.Hive, err = string(lease.Asked), nil
	}
	select {
	case <-l.gone:
	case <-ctx.Done():
		err = unseen(context.Cause(ctx))
	}
	switch {
	case errors.Is(err, core.NodeUnreachable):
		e.Hive, e.Left, e.Error = "lease", 1+e.Workers, err.Error()
	case err != nil:
		e.Error = err.Error() // it says what it had to kill
	}
}

// unseen is the fault of a hive that may be there or not.
func unseen(why error) error { return fmt.Errorf("not seen to end: %w: %w", core.NodeUnreachable, why) }

// lookThere notes the memory of the node after the end of its hive.
func (f *fleet) lookThere(ctx context.Context, e *api.Ended, conn *remote.Conn, exe string) {
	said, err := conn.Output(ctx, []string{exe, "hive", "detect"})
	var has api.Capabilities
	if err == nil && json.Unmarshal(said, &has) == nil && len(has.Devices) > 0 {
		e.After = has.Devices[0].MemoryFreeBytes
		freeAfter(e, has.Devices)
	}
}

// freeAfter notes what GPUs have free after the end.
func freeAfter(e *api.Ended, devices []core.Device) {
	for i := range e.Devices {
		for _, d := range devices {
			if d.Backend == core.CUDA && d.Index == e.Devices[i].Device {
				e.Devices[i].After = d.MemoryFreeBytes
			}
		}
	}
}

// another is the way to the link's hive, and back, over a connection of its own.
func (f *fleet) another(ctx context.Context, l *link, at remote.Node) (*tunnel, *client.Client, error) {
	t, err := f.login(ctx, at, func(api.Event) {})
	if err != nil {
		return nil, nil, err
	}
	if err := f.dig(ctx, t); err != nil {
		t.held.drop()
		return nil, nil, err
	}
	c := client.New(l.hive.URL(), client.Options{Token: f.tokenOf(l), DialContext: t.conn.DialContext})
	t.held.add(c.Close)
	return t, c, nil
}

// tokenOf is what the link's hive wants.
func (f *fleet) tokenOf(l *link) string {
	if l.lease != "" {
		return f.q.operator
	}
	return f.q.token
}
