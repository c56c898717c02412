package hive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/client"
	"rbee/core/lease"
	"rbee/core/machine"
	"rbee/core/secure"
	"rbee/roles/cmdline"
)

// A worker is one child of the hive. Its states:
//
//	loading ── callback ──▶ idle/busy ── asked to end ──▶ stopping ──▶ (gone)
//	   └────────── exit that nobody asked for ──────────▶ failed ── a minute ──▶ (gone)
type worker struct {
	id       core.WorkerID
	ref      core.ModelRef
	backend  core.Backend
	device   int
	port     int
	leaseID  string
	token    string
	queenURL string
	started  time.Time
	child    *lease.Child
	client   *client.Client

	mu    sync.Mutex // guards state and err
	state api.WorkerState
	err   string
}

func (w *worker) get() (api.WorkerState, string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state, w.err
}

// become changes the state, unless the worker is on its way out.
func (w *worker) become(s api.WorkerState, why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.state != api.Failed && (w.state != api.Stopping || s == api.Failed) {
		w.state, w.err = s, why
	}
}

// workers are the hive's children.
type workers struct {
	mu      sync.Mutex // guards all
	by      map[core.WorkerID]*worker
	closed  bool
	running sync.WaitGroup // of the watchers and callbacks
}

// add registers a worker and its watcher; it fails when the hive is ending.
func (ws *workers) add(w *worker, watch func(*worker)) error {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.closed {
		return errEnding
	}
	if _, twice := ws.by[w.id]; twice {
		return &core.Fault{Kind: core.WorkerRegistered, What: fmt.Sprintf("worker %s is here already", w.id)}
	}
	if ws.by == nil {
		ws.by = map[core.WorkerID]*worker{}
	}
	ws.by[w.id] = w
	ws.running.Go(func() { watch(w) })
	return nil
}

var errEnding = &core.Fault{Kind: core.ShuttingDown, What: "the hive is ending"}

func (ws *workers) find(id core.WorkerID) (*worker, error) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if w, ok := ws.by[id]; ok {
		return w, nil
	}
	return nil, &core.Fault{Kind: core.WorkerNotFound, What: fmt.Sprintf("worker %s is not of this hive", id)}
}

func (ws *workers) remove(id core.WorkerID) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	delete(ws.by, id)
}

// all returns the workers that match, by id.
func (ws *workers) all(match func(*worker) bool) (list []*worker) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, w := range ws.by {
		if match == nil || match(w) {
			list = append(list, w)
		}
	}
	slices.SortFunc(list, func(a, b *worker) int { return cmp.Compare(a.id, b.id) })
	return list
}

// close lets no more workers in.
func (ws *workers) close() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.closed = true
}

// spawn starts a worker. It is loading when spawn returns.
func (h *hive) spawn(ctx context.Context, r api.SpawnRequest) (*worker, error) {
	w := &worker{
		id: r.WorkerID, backend: cmp.Or(r.Backend, core.CPU), device: r.Device, leaseID: r.LeaseID,
		token: h.d.Token, queenURL: cmp.Or(r.QueenURL, h.d.Boot.QueenURL), started: time.Now(), state: api.Loading,
	}
	if w.id == "" {
		w.id = core.WorkerID("w-" + secure.RandomID()[:8])
	}
	if err := core.CheckID("worker_id", string(w.id)); err != nil {
		return nil, err
	}
	if w.backend != core.CPU {
		return nil, &core.Fault{Kind: core.BackendUnavailable, What: fmt.Sprintf("backend %q is not in this build, only cpu", w.backend), Try: "leave --backend out"}
	}
	run, err := h.underLease(w)
	if err != nil {
		return nil, err
	}
	m, err := h.provision(ctx, r)
	if err != nil {
		return nil, err
	}
	w.ref = m.ref
	return w, h.start(ctx, w, r, m, run)
}

// underLease gives a worker of a lease the lease's token, queen and mark.
func (h *hive) underLease(w *worker) (run string, err error) {
	if w.leaseID == "" {
		return h.d.Instance, nil
	}
	boot, ok := h.leases.get(w.leaseID)
	if !ok {
		return "", &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("lease %s is not held here", w.leaseID)}
	}
	w.token = cmp.Or(boot.Token, w.token)
	w.queenURL = cmp.Or(boot.QueenURL, w.queenURL)
	return cmp.Or(boot.Instance, h.d.Instance), nil
}

// start hands a listener to a new process.
func (h *hive) start(ctx context.Context, w *worker, r api.SpawnRequest, m provisioned, run string) error {
	ln, _, err := cmdline.NextFree(ctx, 8001)
	if err != nil {
		return err
	}
	w.port = cmdline.Port(ln)
	w.client = client.New(fmt.Sprintf("http://127.0.0.1:%d", w.port), client.Options{Token: w.token})
	args := []string{
		"serve", "--model", m.path, "--model-ref", string(m.ref), "--backend", string(w.backend), "--device", fmt.Sprint(w.device),
		"--hive", h.url, "--worker-id", string(w.id), "--node", string(h.node),
		"--ctx", fmt.Sprint(r.ContextLength), "--slots", fmt.Sprint(max(r.Slots, 1)), "--threads", fmt.Sprint(r.Threads),
	}
	if m.sha256 != "" {
		args = append(args, "--model-sha256", m.sha256)
	}
	w.child, err = lease.Start(lease.Spec{
		Name: "llm-worker-rbee", Args: args, Run: run, Listener: ln, Log: h.d.LogTo,
		Boot: lease.Boot{Token: w.token, Node: string(h.node), Instance: run},
	})
	if err != nil {
		return &core.Fault{Kind: core.WorkerCrashed, What: err.Error(), Cause: err}
	}
	if err := h.workers.add(w, h.watch); err != nil {
		w.child.Stop(context.WithoutCancel(ctx), nil, h.grace())
		return err
	}
	h.d.Log.Info("worker started", "worker_id", string(w.id), "pid", w.child.Proc.PID, "port", w.port, "model", string(w.ref))
	return nil
}

// grace is how long the steps of a worker's end take.
func (h *hive) grace() lease.Grace {
	return lease.Grace{Ask: h.d.Settings.Limits.WorkerStop, Term: h.d.Settings.Limits.TermGrace}
}

// failedKept is how long a worker that failed stays in the list.
const failedKept = time.Minute

// watch waits for a worker's end. One that nobody asked for is a failure, whose
// last words are kept for a while.
func (h *hive) watch(w *worker) {
	<-w.child.Done()
	w.client.Close()
	if state, _ := w.get(); state == api.Stopping {
		h.workers.remove(w.id)
		return
	}
	why := "exit status 0"
	if err := w.child.Err(); err != nil {
		why = err.Error()
	}
	w.become(api.Failed, why)
	h.d.Log.Warn("worker failed", "worker_id", string(w.id), "error", why)
	select {
	case <-time.After(failedKept):
	case <-h.d.Ctx.Done():
	}
	h.workers.remove(w.id)
}

// stopWorker ends a worker in order.
func (h *hive) stopWorker(ctx context.Context, w *worker) {
	w.become(api.Stopping, "")
	step := w.child.Stop(ctx, w.client.Shutdown, h.grace())
	h.d.Log.Info("worker ended", "worker_id", string(w.id), "step", string(step))
}

// stopAll ends workers, all at once.
func (h *hive) stopAll(ctx context.Context, list []*worker) {
	var all sync.WaitGroup
	for _, w := range list {
		all.Go(func() { h.stopWorker(ctx, w) })
	}
	all.Wait()
}

// supervise waits for the hive's end and then ends every worker.
func (h *hive) supervise(ctx context.Context) error {
	<-ctx.Done()
	h.workers.close()
	h.stopAll(context.WithoutCancel(ctx), h.workers.all(nil))
	h.workers.running.Wait()
	return nil
}

// stopIdle ends workers that nobody has used for a while.
func (h *hive) stopIdle(ctx context.Context) error {
	tick := time.NewTicker(max(min(h.idle/4, 15*time.Second), 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, w := range h.workers.all(nil) {
			v := h.view(ctx, w)
			if h.idle > 0 && v.State == api.Idle && time.Since(v.LastActivity) > h.idle {
				h.d.Log.Info("worker is idle", "worker_id", string(w.id))
				h.stopWorker(ctx, w)
			}
		}
	}
}

// view is a worker as lists show it; a loaded one is asked.
func (h *hive) view(ctx context.Context, w *worker) api.Worker {
	state, why := w.get()
	v := api.Worker{
		ID: w.id, URL: fmt.Sprintf("http://%s:%d", h.node, w.port), ModelRef: w.ref, Backend: w.backend, Device: w.device,
		State: state, PID: w.child.Proc.PID, MemoryBytes: machine.RSS(w.child.Proc.PID), StartedAt: w.started.UTC(), LastActivity: w.started.UTC(), Error: why,
	}
	if state != api.Idle {
		return v
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if r, err := w.client.Ready(ctx); err == nil && r.Ready {
		v.State, v.SlotsTotal, v.SlotsAvailable = r.State, r.SlotsTotal, r.SlotsTotal-r.SlotsBusy
		v.LastActivity = time.Now().Add(-time.Duration(r.IdleMS) * time.Millisecond).UTC()
	}
	return v
}

// ready takes a worker's callback and passes it on to its queen.
func (h *hive) ready(r api.WorkerReady) error {
	w, err := h.workers.find(r.WorkerID)
	if err != nil {
		return err
	}
	w.become(api.Idle, "")
	h.d.Log.Info("worker ready", "worker_id", string(w.id), "took_ms", time.Since(w.started).Milliseconds())
	if w.queenURL == "" {
		return nil
	}
	h.workers.running.Go(func() { h.tellQueen(w, r) })
	return nil
}

// tellQueen calls the queen until she has heard, or the worker is gone.
func (h *hive) tellQueen(w *worker, r api.WorkerReady) {
	ctx, cancel := context.WithCancel(h.d.Ctx)
	defer cancel()
	queen := client.New(w.queenURL, client.Options{Token: w.token})
	defer queen.Close()
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		call, done := context.WithTimeout(ctx, 10*time.Second)
		err := queen.HiveWorkerReady(call, h.node, r)
		done()
		if err == nil {
			return
		}
		h.d.Log.Warn("the queen did not take the callback", "worker_id", string(w.id), "error", err.Error())
		if errors.Is(err, core.WorkerRegistered) {
			return
		}
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-w.child.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}
