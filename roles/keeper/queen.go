package keeper

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/beacon"
	"rbee/core/client"
	"rbee/core/config"
	"rbee/core/lease"
	"rbee/core/secure"
	"rbee/roles/cmdline"
)

// queenPort is where a queen is looked for.
const queenPort = 8080

// findQueen returns the queen at --queen, else one that runs persistently on this
// machine for this user and of this version, else one of our own.
func findQueen(ctx context.Context, c *cli.Context, settings config.Settings, s *screen) (*queen, error) {
	token, err := secure.TokenIn(settings.TokenFile)
	if err != nil {
		return nil, err
	}
	if url := c.String("queen"); url != "" {
		q := &queen{client: client.New(url, client.Options{Token: token})}
		if _, err := q.client.Health(ctx); err != nil {
			return nil, &core.Fault{Kind: core.NodeUnreachable, What: fmt.Sprintf("no queen answers at %s: %v", url, err), Cause: err, Try: "queen-rbee daemon"}
		}
		return q, nil
	}
	if there := running(ctx, settings, token); there != nil {
		return &queen{client: there}, nil
	}
	if c.Bool("keep") {
		return keepQueen(ctx, settings, s)
	}
	return startQueen(ctx, c, settings, s)
}

// running returns the persistent queen of this user and version, nil when there is
// none. She is known by her file, or at the usual port by the socket's owner: a
// stranger must not be lent the token.
func running(ctx context.Context, settings config.Settings, token string) *client.Client {
	port := beacon.Port(settings.Paths.State, "queen", queenPort)
	if !secure.Ours(port) {
		return nil
	}
	there := client.New(fmt.Sprintf("http://127.0.0.1:%d", port), client.Options{Token: token})
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	h, err := there.Health(ctx)
	if err != nil || h.Role != "queen" || h.Mode != core.Persistent || h.Version != core.Version {
		there.Close()
		return nil
	}
	return there
}

// startQueen starts a queen that lives by our lease.
func startQueen(ctx context.Context, c *cli.Context, settings config.Settings, s *screen) (*queen, error) {
	ln, moved, err := cmdline.NextFree(ctx, queenPort)
	if err != nil {
		return nil, err
	}
	port := cmdline.Port(ln)
	if moved {
		s.note(fmt.Sprintf("port %d is taken, the queen is on %d", queenPort, port))
	}
	q := &queen{
		run: secure.RandomID(), told: &endings{}, nodes: map[core.NodeName]bool{},
		stop: settings.Limits.QueenStop(), lost: settings.Limits.BeatLost, settle: 10 * time.Second,
	}
	token := secure.NewToken()
	spec := lease.Spec{
		Name: "queen-rbee", Args: []string{"daemon"}, Run: q.run, Listener: ln, Stdout: q.told,
		Boot: lease.Boot{Token: token, Node: string(core.Localhost), Instance: q.run},
	}
	if c.Bool("verbose") {
		spec.Log = c.App.ErrWriter
	}
	if q.child, err = lease.Start(spec); err != nil {
		return nil, &core.Fault{Kind: core.Internal, What: err.Error(), Cause: err}
	}
	q.client = client.New(fmt.Sprintf("http://127.0.0.1:%d", port), client.Options{Token: token})
	if err := q.awaitUp(ctx, settings.Limits.QueenUp, q.child.Done(), q.child.Err); err != nil {
		_ = q.end(ctx, s) // the first error is the one to tell
		return nil, err
	}
	s.narrate(api.QueenStart, fmt.Sprintf("queen up on port %d", port))
	return q, nil
}

// awaitUp polls until the queen answers; her early end is seen at once.
func (q *queen) awaitUp(ctx context.Context, most time.Duration, gone <-chan struct{}, why func() error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, most, &core.Fault{Kind: core.ConnectionTimeout, What: fmt.Sprintf("the queen does not come up in %v", most)})
	defer cancel()
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
		if _, err := q.client.Health(ctx); err == nil {
			return nil
		}
		select {
		case <-gone:
			return &core.Fault{Kind: core.Internal, What: fmt.Sprintf("the queen ended as soon as she was started: %v", why())}
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// end ends what we started and proves it: the run's mark is looked for in every
// process of this machine, and the queen says what she ended on others. What does
// not end by itself is killed: it carries our mark. It has its own time, whatever ctx has.
func (q *queen) end(ctx context.Context, s *screen) error {
	defer q.client.Close()
	if q.child == nil {
		return nil
	}
	began := time.Now()
	before := lease.Count(q.run, 0)
	q.child.Stop(context.WithoutCancel(ctx), nil, lease.Grace{Term: q.stop})
	left := settled(before, q.settle)
	holds := described(left)
	for _, p := range left {
		_ = p.Signal(syscall.SIGKILL)
	}
	still := left
	if len(left) > 0 {
		still = settled(before, q.settle)
	}
	unseen := q.unseen()
	if len(left)+len(unseen)+len(q.told.failed()) == 0 {
		s.narrate(api.Cleanup, fmt.Sprintf("cleaned up: %s ended in %.2f s%s, nothing left", q.names(before.Procs), time.Since(began).Seconds(), q.freed(before)))
		return nil
	}
	return q.verdict(left, still, holds, unseen)
}

// verdict is the fault of an end that is not proven.
func (q *queen) verdict(left, still []lease.Leftover, holds []string, unseen []core.NodeName) error {
	f := &core.Fault{Kind: core.Internal, What: "not everything that was started has ended by itself"}
	for i, p := range left {
		what, there := "killed", slices.ContainsFunc(still, func(l lease.Leftover) bool { return l.Proc == p.Proc })
		if there {
			what, f.Try = "left", fmt.Sprintf("kill -9 %d", p.PID)
		}
		f.Facts = append(f.Facts, core.Text(what, holds[i]))
	}
	for _, e := range q.told.failed() {
		what := e.Error
		if e.Left > 0 {
			what = fmt.Sprintf("%d left: %s", e.Left, e.Error)
		}
		f.Facts = append(f.Facts, core.Text("node "+string(e.Node), what))
	}
	for _, node := range unseen {
		f.Facts = append(f.Facts, core.Text("node "+string(node), fmt.Sprintf("not seen; its lease ends it within %v", q.lost)))
	}
	return f
}

// unseen are the nodes of which we know nothing: the queen was killed before she
// could say what she had ended there, or lost the node while its hive was up.
func (q *queen) unseen() (nodes []core.NodeName) {
	for node, up := range q.nodes {
		told := slices.ContainsFunc(q.told.all(), func(e api.Ended) bool { return e.Node == node })
		if node != core.Localhost && !told && (up || !q.told.complete()) {
			nodes = append(nodes, node)
		}
	}
	slices.Sort(nodes)
	return nodes
}

// described says of each process what it is and holds.
func described(list []lease.Leftover) (texts []string) {
	for _, p := range list {
		texts = append(texts, p.Describe())
	}
	return texts
}

// settled waits until nothing of a census lives, and returns what does when the time
// is over.
func settled(there lease.Census, most time.Duration) (left []lease.Leftover) {
	for end := time.Now().Add(most); ; {
		left = there.Left()
		if len(left) == 0 || time.Now().After(end) {
			return left
		}
		<-time.After(5 * time.Millisecond)
	}
}

// freed says which ports are closed, and what each machine has free again.
func (q *queen) freed(before lease.Census) (text string) {
	if ports := before.Ports(); len(ports) > 0 {
		text = ", " + closed(ports)
	}
	for _, e := range q.told.all() {
		if free := memoryFree(e); free != "" {
			text += fmt.Sprintf(", %s: %s", e.Node, free)
		}
	}
	return text
}

// names says which processes there were: those of this machine, and of others by node.
func (q *queen) names(before []lease.Leftover) string {
	var names []string
	for _, p := range before {
		names = append(names, p.Name)
	}
	slices.Sort(names)
	for _, e := range q.told.all() {
		if e.Node != core.Localhost {
			names = append(names, fmt.Sprintf("hive and %s on %s", workers(e.Workers), e.Node))
		}
	}
	if len(names) == 0 {
		return "queen"
	}
	return strings.Join(names, ", ")
}

// endings collects the lines that a queen writes on stdout: what she ended.
type endings struct {
	mu   sync.Mutex // guards all
	part []byte
	list []api.Ended
}

var _ io.Writer = (*endings)(nil)

func (e *endings) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.part = append(e.part, p...)
	for {
		line, rest, found := bytes.Cut(e.part, []byte("\n"))
		if !found {
			return len(p), nil
		}
		var one api.Ended
		if json.Unmarshal(line, &one) == nil {
			e.list = append(e.list, one)
		}
		e.part = append([]byte(nil), rest...)
	}
}

func (e *endings) all() []api.Ended {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(e.list), func(e api.Ended) bool { return e.Node == "" })
}

// complete tells whether the queen has said that there is no other node.
func (e *endings) complete() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.ContainsFunc(e.list, func(e api.Ended) bool { return e.All })
}

// failed are the nodes where something is left, or had to be killed.
func (e *endings) failed() []api.Ended {
	return slices.DeleteFunc(e.all(), func(e api.Ended) bool { return e.Left == 0 && e.Error == "" })
}
