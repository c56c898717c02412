package queen

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/client"
	"rbee/core/lease"
	"rbee/core/remote"
	"rbee/roles/cmdline"
)

// hivePort is where an operator's hive is looked for.
const hivePort = 9200

// A narrator says what is being done.
type narrator func(action api.Action, human string)

// A fleet is the queen's nodes. A node is brought up when it is first needed.
type fleet struct {
	q         *queen
	sshConfig string // empty: the user's own
	base      context.Context

	mu    sync.Mutex // guards nodes and ended
	nodes map[core.NodeName]*node
	ended bool
}

// A node is one machine with its hive. Who holds turn may bring it up or end it.
type node struct {
	name core.NodeName
	turn chan struct{} // one token

	up   bool
	hive *client.Client
	info api.Health
	url  string
	// How the hive is held: one of these.
	child *lease.Child    // started by us, here
	proc  *remote.Process // started by us, over SSH
	held  io.Closer       // somebody else's: the lease's body
	boss  *lease.Holder   // of that lease

	conn    *remote.Conn // of an SSH node
	exe     string       // our program there
	there   lease.Proc   // the hive there
	beating context.CancelFunc
	run     sync.WaitGroup // of the beats and the reverse tunnel
}

// get returns the node of that name, known or new.
func (f *fleet) get(name core.NodeName) (*node, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return nil, &core.Fault{Kind: core.ShuttingDown, What: "the queen is ending"}
	}
	n, ok := f.nodes[name]
	if !ok {
		n = &node{name: name, turn: make(chan struct{}, 1)}
		n.turn <- struct{}{}
		if f.nodes == nil {
			f.nodes = map[core.NodeName]*node{}
		}
		f.nodes[name] = n
	}
	return n, nil
}

func (f *fleet) all() (list []*node) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.nodes {
		list = append(list, n)
	}
	slices.SortFunc(list, func(a, b *node) int { return cmp.Compare(a.name, b.name) })
	return list
}

// take waits for the node's turn; the returned function gives it back.
func (n *node) take(ctx context.Context) (func(), error) {
	select {
	case <-n.turn:
		return func() { n.turn <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Ensure returns the node with its hive up.
func (f *fleet) Ensure(ctx context.Context, name core.NodeName, say narrator) (*node, error) {
	n, err := f.get(name)
	if err != nil {
		return nil, err
	}
	done, err := n.take(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if n.up && n.alive(ctx) {
		return n, nil
	}
	if n.up {
		f.q.known.RemoveNode(name)
		n.drop()
	}
	f.mu.Lock()
	ended := f.ended
	f.mu.Unlock()
	if ended {
		return nil, &core.Fault{Kind: core.ShuttingDown, What: "the queen is ending"}
	}
	bring := f.local
	if name != core.Localhost {
		bring = f.overSSH
	}
	if err := bring(ctx, n, say); err != nil {
		n.drop()
		return nil, err
	}
	n.up = true
	return n, nil
}

// alive tells whether what holds the hive still does.
func (n *node) alive(ctx context.Context) bool {
	switch {
	case n.child != nil:
		return !closed(n.child.Done())
	case n.proc != nil:
		return !closed(n.proc.Done())
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, err := n.hive.Health(ctx)
	return err == nil
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// local uses the operator's hive on this machine, or starts one.
func (f *fleet) local(ctx context.Context, n *node, say narrator) error {
	there := client.New(fmt.Sprintf("http://127.0.0.1:%d", hivePort), client.Options{Token: f.q.token})
	if h, ok := f.usable(ctx, there); ok {
		err := f.borrow(ctx, n, there, h, fmt.Sprintf("http://127.0.0.1:%d", f.q.port))
		if err == nil {
			say(api.HiveStart, fmt.Sprintf("using the hive that runs on port %d", hivePort))
			return nil
		}
		say(api.Note, fmt.Sprintf("the hive on port %d cannot be used: %v", hivePort, err))
	}
	there.Close()
	return f.startLocal(ctx, n, say)
}

// usable tells whether an operator's hive answers, of our own version.
func (f *fleet) usable(ctx context.Context, c *client.Client) (api.Health, bool) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	h, err := c.Health(ctx)
	return h, err == nil && h.Role == "hive" && h.Mode == core.Persistent && h.Version == core.Version
}

func (f *fleet) startLocal(ctx context.Context, n *node, say narrator) error {
	ln, moved, err := cmdline.NextFree(ctx, hivePort)
	if err != nil {
		return err
	}
	port := cmdline.Port(ln)
	if moved {
		say(api.Note, fmt.Sprintf("port %d is taken, the hive is on %d", hivePort, port))
	}
	args := []string{"daemon"}
	for _, dir := range f.q.dirs {
		args = append(args, "--models-dir", dir)
	}
	n.child, err = lease.Start(lease.Spec{
		Name: "rbee-hive", Args: args, Run: f.q.d.Instance, Listener: ln, Log: f.q.d.LogTo,
		Boot: f.boot(n.name, fmt.Sprintf("http://127.0.0.1:%d", f.q.port)),
	})
	if err != nil {
		return &core.Fault{Kind: core.Internal, What: err.Error(), Cause: err}
	}
	n.url = fmt.Sprintf("http://127.0.0.1:%d", port)
	n.hive = client.New(n.url, client.Options{Token: f.q.token})
	if n.info, err = f.awaitHealth(ctx, n.hive, n.child.Done(), n.child.Err); err != nil {
		return err
	}
	say(api.HiveStart, fmt.Sprintf("hive up on %s", n.name))
	return nil
}

// boot is what a hive must know.
func (f *fleet) boot(name core.NodeName, queenURL string) lease.Boot {
	return lease.Boot{Token: f.q.token, QueenURL: queenURL, Node: string(name), Instance: f.q.d.Instance}
}

// awaitHealth polls until the hive answers; its early end is seen at once.
func (f *fleet) awaitHealth(ctx context.Context, c *client.Client, gone <-chan struct{}, why func() error) (api.Health, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, f.q.d.Settings.Limits.HiveUp, &core.Fault{Kind: core.ConnectionTimeout, What: "the hive does not come up"})
	defer cancel()
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		h, err := c.Health(ctx)
		if err == nil {
			return h, nil
		}
		select {
		case <-gone:
			return h, &core.Fault{Kind: core.NodeUnreachable, What: fmt.Sprintf("the hive ended as soon as it was started: %v", why())}
		case <-ctx.Done():
			return h, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// borrow takes a lease on a hive that somebody else started.
func (f *fleet) borrow(ctx context.Context, n *node, c *client.Client, h api.Health, queenURL string) error { //nolint:contextcheck // the lease lives as long as the node, not the task
	r, w := io.Pipe()
	beating, stop := context.WithCancel(f.base)
	ready := make(chan *lease.Holder, 1)
	n.run.Go(func() {
		holder, err := lease.Hold(w, f.boot(n.name, queenURL))
		ready <- holder
		if err == nil {
			_ = holder.Beat(beating, f.q.d.Settings.Limits.Beat) // its end is the hive's: seen by whoever calls it
		}
	})
	body, err := c.Lease(f.base, f.q.d.Instance, r) //nolint:contextcheck // the lease outlives the task it is taken for
	if err != nil {
		stop()
		_ = r.CloseWithError(err)
		<-ready
		return err
	}
	n.hive, n.url, n.info, n.held, n.boss, n.beating = c, c.URL(), h, body, <-ready, stop
	return ctx.Err()
}

// overSSH logs in, looks for an operator's hive and starts one otherwise.
func (f *fleet) overSSH(ctx context.Context, n *node, say narrator) error { //nolint:contextcheck // the tunnel lives as long as the node, not the task
	at, err := remote.Resolve(ctx, string(n.name), f.sshConfig)
	if err != nil {
		return err
	}
	limits := f.q.d.Settings.Limits
	say(api.SSHConnect, fmt.Sprintf("connecting to %s@%s", at.User, at.Host))
	pauses := []time.Duration{200 * time.Millisecond, 400 * time.Millisecond}
	n.conn, err = remote.DialRetry(ctx, at, limits.SSHConnect, pauses, func(err error) { say(api.Note, "trying again: "+err.Error()) })
	if err != nil {
		return err
	}
	back, err := n.conn.Reverse(ctx, fmt.Sprintf("127.0.0.1:%d", f.q.port))
	if err != nil {
		return &core.Fault{Kind: core.KindOf(err), What: err.Error(), Cause: err, Try: "set AllowTcpForwarding yes in the node's sshd_config"}
	}
	beating, stop := context.WithCancel(f.base)
	n.beating = stop
	n.run.Go(func() { _ = back.Run(beating) }) // ends with the connection, which is watched
	queenURL := fmt.Sprintf("http://127.0.0.1:%d", back.Port)
	dial := client.Options{Token: f.q.token, DialContext: n.conn.DialContext}
	there := client.New(fmt.Sprintf("http://127.0.0.1:%d", hivePort), dial)
	if h, ok := f.usable(ctx, there); ok {
		if err := f.borrow(ctx, n, there, h, queenURL); err == nil {
			beats := n.beating
			n.beating = func() { beats(); stop() }
			say(api.HiveStart, fmt.Sprintf("using the hive that runs on %s", n.name))
			return nil
		}
	}
	return f.startOverSSH(ctx, beating, n, queenURL, say)
}

// startOverSSH starts a hive of our own version on the node.
func (f *fleet) startOverSSH(ctx, beating context.Context, n *node, queenURL string, say narrator) (err error) {
	if n.exe, err = n.conn.Find(ctx); err != nil {
		return err
	}
	version, err := n.conn.Version(ctx, n.exe)
	if err != nil {
		return err
	}
	if version != core.Version {
		return &core.Fault{
			Kind: core.VersionMismatch, What: fmt.Sprintf("node %s has rbee %s, this is %s", n.name, version, core.Version),
			Try: fmt.Sprintf("copy this program there: scp $(command -v rbee) %s:", n.name),
		}
	}
	limits := f.q.d.Settings.Limits
	n.proc, err = n.conn.Start(ctx, []string{n.exe, "hive", "daemon", "--lease", "stdin"}, f.q.d.Instance, f.boot(n.name, queenURL), f.q.d.LogTo)
	if err != nil {
		return err
	}
	n.run.Go(func() { _ = n.proc.Lease.Beat(beating, limits.Beat) })
	first, cancel := context.WithTimeoutCause(ctx, limits.HiveUp, &core.Fault{Kind: core.ConnectionTimeout, What: fmt.Sprintf("the hive on %s does not come up", n.name)})
	defer cancel()
	line, err := n.proc.FirstLine(first)
	if err != nil {
		return &core.Fault{Kind: core.NodeUnreachable, What: fmt.Sprintf("the hive on %s did not start: %v", n.name, err), Cause: err}
	}
	var up api.Up
	if err := json.Unmarshal(line, &up); err != nil {
		return &core.Fault{Kind: core.NodeUnreachable, What: fmt.Sprintf("node %s answers %.80q instead of a hive's first line", n.name, line), Try: "the shell there must print nothing when it starts"}
	}
	n.there = lease.Proc{PID: up.PID, Started: up.Started}
	n.url = fmt.Sprintf("http://127.0.0.1:%d", up.Port)
	n.hive = client.New(n.url, client.Options{Token: f.q.token, DialContext: n.conn.DialContext})
	if n.info, err = f.awaitHealth(ctx, n.hive, n.proc.Done(), n.proc.Err); err != nil {
		return err
	}
	say(api.HiveStart, fmt.Sprintf("hive up on %s", n.name))
	return nil
}

// worker returns a client for a worker of the node, by its port.
func (n *node) worker(url, token string) (*client.Client, error) {
	_, port, err := net.SplitHostPort(url[len("http://"):])
	if err != nil {
		return nil, fmt.Errorf("queen: worker at %q: %w", url, err)
	}
	o := client.Options{Token: token}
	if n.conn != nil {
		o.DialContext = n.conn.DialContext
	}
	return client.New("http://127.0.0.1:"+port, o), nil
}

// drop lets go of everything, at once: what lived by our lease sees its end.
func (n *node) drop() {
	if n.beating != nil {
		n.beating()
	}
	if n.boss != nil {
		_ = n.boss.Close()
	}
	if n.held != nil {
		_ = n.held.Close()
	}
	if n.hive != nil {
		n.hive.Close()
	}
	if n.child != nil {
		_ = n.child.Lease.Close()
		<-n.child.Done() // its watchdog sees to that
	}
	if n.conn != nil {
		_ = n.conn.Close()
	}
	n.run.Wait()
	*n = node{name: n.name, turn: n.turn}
}

// endAll ends every hive that we started and lets go of the others, all at once.
// told hears of each.
func (f *fleet) endAll(told func(api.Ended)) {
	f.mu.Lock()
	f.ended = true
	f.mu.Unlock()
	var all sync.WaitGroup
	for _, n := range f.all() {
		all.Go(func() {
			done, err := n.take(context.Background())
			if err != nil {
				return
			}
			defer done()
			if n.up {
				told(f.end(n))
			}
			n.drop()
		})
	}
	all.Wait()
}

// end ends one hive in order and says what it took.
func (f *fleet) end(n *node) api.Ended {
	ctx, cancel := context.WithTimeout(context.Background(), f.q.d.Settings.Limits.HiveStop())
	defer cancel()
	e := api.Ended{Node: n.name, Workers: f.count(n)}
	switch {
	case n.child != nil:
		e.Hive = string(n.child.Stop(ctx, nil, lease.Grace{Term: f.q.d.Settings.Limits.HiveStop()}))
	case n.proc != nil:
		e.Hive = f.endThere(ctx, n, &e)
	default:
		e.Hive = "lives on"
		n.beating()
		_ = n.boss.Close()
		e.Left = f.awaitNone(ctx, n)
	}
	return e
}

// count is the number of live workers of ours on a node.
func (f *fleet) count(n *node) int {
	live := 0
	for _, w := range f.q.known.List() {
		if w.Node == n.name {
			live++
		}
	}
	return live
}

// endThere ends a hive over SSH: SIGTERM by our own program there, else a call,
// else the end of its lease.
func (f *fleet) endThere(ctx context.Context, n *node, e *api.Ended) string {
	step := string(lease.Termed)
	if err := n.conn.Kill(ctx, n.exe, n.there); err != nil {
		step = string(lease.Asked)
		if err := n.hive.Shutdown(ctx); err != nil {
			e.Error = err.Error()
		}
	}
	select {
	case <-n.proc.Done():
	case <-ctx.Done():
		e.Left = 1 + e.Workers
		e.Error = errors.Join(errors.New("not seen to end"), context.Cause(ctx)).Error()
		step = "lease"
	}
	return step
}

// awaitNone waits until a borrowed hive has ended our workers, and returns how
// many are left when the time is over.
func (f *fleet) awaitNone(ctx context.Context, n *node) (left int) {
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
		list, err := n.hive.Workers(ctx)
		if err != nil && ctx.Err() == nil {
			return 0 // the hive is gone, and its workers with it
		}
		left = 0
		for _, w := range list.Workers {
			if known, ok := f.q.known.Find(w.ID); ok && known.Node == n.name {
				left++
			}
		}
		if left == 0 && err == nil {
			return 0
		}
		select {
		case <-ctx.Done():
			return left
		case <-time.After(pause):
		}
	}
}
