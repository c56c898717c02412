package queen

import (
	"cmp"
	"context"
	"encoding/json"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"time"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/machine"
)

// hivePort is where an operator's hive is looked for.
const hivePort = 9200

// A fleet is the queen's nodes. A node's hive is brought up when it is first
// needed, and again when it is gone.
type fleet struct {
	q         *queen
	sshConfig string          // empty: the user's own
	base      context.Context // of the links
	bringing  turns[core.NodeName]
	watching  sync.WaitGroup  // one for each link
	pool      []core.NodeName // whose hives are always to be up
	keepers   sync.WaitGroup  // one for each node of the pool
	inherited []string        // the pids of children from before a restart

	mu    sync.Mutex // guards all below
	links map[core.NodeName]*link
	down  map[core.NodeName]error // of the pool: why it is not up
	ended bool
}

// Ensure returns the link to a node's hive, which it brings up if need be.
func (f *fleet) Ensure(ctx context.Context, name core.NodeName, say narrator) (*link, error) {
	done, err := f.bringing.take(ctx, name)
	if err != nil {
		return nil, err
	}
	defer done()
	if l, err := f.find(name); l != nil || err != nil {
		return l, err
	}
	bring := f.local
	if name != core.Localhost {
		bring = f.overSSH
	}
	l, err := bring(ctx, name, say)
	if err != nil {
		return nil, err
	}
	if err := f.put(l); err != nil {
		f.end(l) //nolint:contextcheck // an end has its own time
		return nil, err
	}
	f.hear(ctx, l)
	return l, nil
}

// hear waits until a hive that ran before has said what it has, or else its workers
// would be started a second time.
func (f *fleet) hear(ctx context.Context, l *link) {
	if l.joined == nil || f.q.d.Mode != core.Persistent {
		return
	}
	select {
	case <-l.joined:
	case <-l.gone:
	case <-ctx.Done():
	case <-time.After(glance):
	}
}

var errEnding = &core.Fault{Kind: core.ShuttingDown, What: "the queen is ending"}

// find returns the link of a node, nil when there is none that lives.
func (f *fleet) find(name core.NodeName) (*link, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return nil, errEnding
	}
	if l := f.links[name]; l != nil && l.alive() {
		return l, nil
	}
	return nil, nil
}

// put takes a new link in, and sees to what follows from its end.
func (f *fleet) put(l *link) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return errEnding
	}
	if f.links == nil {
		f.links = map[core.NodeName]*link{}
	}
	f.links[l.node] = l
	f.watching.Go(func() {
		<-l.gone
		f.q.d.Log.Info("hive gone", "node", string(l.node), "hive", l.info.Instance)
		f.forget(l)
		f.q.hives.LeaveNode(l.node)
		f.q.pool.known.RemoveHive(l.id)
		l.held.dropUnused()
	})
	return nil
}

// linked tells whether a hive is held already.
func (f *fleet) linked(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.links {
		if l.alive() && l.info.ID == id {
			return true
		}
	}
	return false
}

func (f *fleet) forget(l *link) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.links[l.node] == l {
		delete(f.links, l.node)
	}
}

// up returns the links that live, by node. Nobody is waited for.
func (f *fleet) up() (list []*link) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.links {
		if l.alive() {
			list = append(list, l)
		}
	}
	slices.SortFunc(list, func(a, b *link) int { return cmp.Compare(a.node, b.node) })
	return list
}

// children are the pids of the hives that this process has started, in this life or
// one before.
func (f *fleet) children() []string {
	pids := slices.Clone(f.inherited)
	for _, l := range f.up() {
		if l.pid != 0 {
			pids = append(pids, strconv.Itoa(l.pid))
		}
	}
	return pids
}

// endAll ends every hive that lives by us and lets go of the others, all at once.
// told hears of each. No task may be under way any more.
func (f *fleet) endAll(told func(api.Ended)) {
	f.mu.Lock()
	f.ended = true
	f.mu.Unlock()
	var all sync.WaitGroup
	for _, l := range f.up() {
		all.Go(func() { told(f.end(l)) })
	}
	all.Wait()
	f.watching.Wait()
}

// end ends one hive in order and says what it took.
func (f *fleet) end(l *link) api.Ended {
	defer l.held.drop()
	l.held.use.RLock() // the hive's end must not cut off how it is seen
	defer l.held.use.RUnlock()
	ctx, cancel := context.WithTimeout(context.Background(), f.q.d.Settings.Limits.HiveStop())
	defer cancel()
	e := api.Ended{Node: l.node, Workers: len(f.q.pool.known.Of(l.id))}
	f.weigh(ctx, l, &e)
	l.end(ctx, &e)
	if e.Left == 0 && l.after != nil {
		l.after(ctx, &e)
	}
	return e
}

// weigh notes what a hive's workers have of its machine's memory, if it says so at
// once: the time is the end's.
func (f *fleet) weigh(ctx context.Context, l *link, e *api.Ended) {
	ctx, cancel := context.WithTimeout(ctx, f.q.d.Settings.Limits.HiveStop()/32)
	defer cancel()
	if list, err := l.hive.Workers(ctx); err == nil {
		for _, v := range list.Workers {
			if known, ok := f.q.pool.known.Find(v.ID); ok && known.Hive == l.id {
				e.Bytes += v.MemoryBytes
			}
		}
	}
	if has, err := l.hive.Capabilities(ctx); err == nil && len(has.Devices) > 0 {
		e.Before = has.Devices[0].MemoryFreeBytes
		for _, d := range has.Devices {
			if d.Backend == core.CUDA {
				e.Devices = append(e.Devices, api.DeviceMemory{Device: d.Index, Name: d.Name, Before: d.MemoryFreeBytes})
			}
		}
	}
}

// lookHere notes the memory of this machine after the end of its hive. A queen sees no
// GPU: what a hive would say is asked of one that only looks.
func (f *fleet) lookHere(ctx context.Context, e *api.Ended) {
	e.After = machine.ReadMemory().Available
	if len(e.Devices) == 0 {
		return
	}
	look := exec.CommandContext(ctx, "/proc/self/exe")
	look.Args = []string{"rbee", "hive", "detect"}
	said, err := look.Output()
	var has api.Capabilities
	if err == nil && json.Unmarshal(said, &has) == nil {
		freeAfter(e, has.Devices)
	}
}
