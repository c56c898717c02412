package hive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
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
	node     core.NodeName // as the queen calls it
	needs    int64         // bytes of memory, 0: not known
	context  int           // as it was asked for
	threads  int           // as it was asked for
	token    string
	queenURL string
	started  time.Time
	child    *lease.Child
	log      *lease.Kept
	release  func()          // lets the model's files be removed
	client   *client.Client  // nil: a measurement, which has no port either
	levels   []machine.Level // of the GPUs before it began
	back     chan struct{}   // closed when what it had is free again, or was waited for long enough

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

// spawn starts a worker. It is loading when spawn returns.
func (h *hive) spawn(ctx context.Context, r api.SpawnRequest) (*worker, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	w := &worker{
		id: r.WorkerID, node: h.node, backend: cmp.Or(r.Backend, core.CPU), device: r.Device, leaseID: r.LeaseID,
		context: r.ContextLength, threads: r.Threads, token: h.d.Token, queenURL: cmp.Or(r.QueenURL, h.d.Boot.QueenURL), started: time.Now(), state: api.Loading,
		back: make(chan struct{}),
	}
	if w.id == "" {
		w.id = core.WorkerID("w-" + secure.RandomID()[:8])
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
	w.ref, w.needs, w.release = m.ref, m.needs, m.release
	if err := h.nursery.settle(ctx, w.backend, w.device); err != nil {
		m.release()
		return nil, err
	}
	w.levels = h.gpus.Levels()
	err = h.nursery.spawn(w, func(others load) error { return room(m.needs, others, h.d.Settings.MemoryMax) }, func() error { return h.start(ctx, w, r, m, run) })
	if err != nil {
		m.release()
		return nil, err
	}
	h.nursery.running.Go(func() { h.watch(w) }) //nolint:contextcheck // the worker outlives the call
	h.d.Log.Info("worker started", "worker_id", string(w.id), "pid", w.child.Proc.PID, "port", w.port, "model", string(w.ref))
	return w, nil
}

// underLease gives a worker of a lease the lease's token, queen and mark.
func (h *hive) underLease(w *worker) (run string, err error) {
	boot, err := h.nursery.lease(w.leaseID)
	if err != nil {
		return "", err
	}
	w.node = cmp.Or(core.NodeName(boot.Node), w.node)
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
	w.port, w.log = cmdline.Port(ln), lease.NewKept(1000)
	w.client = client.New(fmt.Sprintf("http://127.0.0.1:%d", w.port), client.Options{Token: w.token})
	args := []string{
		"serve", "--model", m.path, "--model-ref", string(m.ref), "--backend", string(w.backend), "--device", fmt.Sprint(w.device),
		"--hive", h.url, "--worker-id", string(w.id), "--node", string(w.node),
		"--ctx", fmt.Sprint(r.ContextLength), "--slots", fmt.Sprint(cmp.Or(r.Slots, defaultSlots)), "--threads", fmt.Sprint(r.Threads),
	}
	if m.sha256 != "" {
		args = append(args, "--model-sha256", m.sha256)
	}
	w.child, err = lease.Start(lease.Spec{
		Name: "llm-worker-rbee", Args: args, Run: run, Listener: ln, Log: io.MultiWriter(w.log, h.d.LogTo),
		Boot: lease.Boot{Token: w.token, Node: string(w.node), Instance: run, Mode: core.Ephemeral},
	})
	if err != nil {
		return &core.Fault{Kind: core.WorkerCrashed, What: err.Error(), Cause: err}
	}
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
	ctx, loaded := context.WithCancel(h.life)
	h.nursery.running.Go(func() { h.follow(ctx, w) })
	h.nursery.running.Go(func() { h.heed(ctx, w) })
	<-w.child.Done()
	loaded()
	w.client.Close()
	w.release()
	defer h.report.changed()
	if state, _ := w.get(); state == api.Stopping {
		h.giveBack(w)
		h.nursery.remove(w.id)
		return
	}
	h.nursery.running.Go(func() { h.giveBack(w) })
	why := "exit status 0"
	if err := w.child.Err(); err != nil {
		why = err.Error()
	}
	w.become(api.Failed, why)
	h.report.changed()
	h.d.Log.Warn("worker failed", "worker_id", string(w.id), "error", why)
	select {
	case <-time.After(failedKept):
	case <-h.life.Done():
	}
	h.nursery.remove(w.id)
}

// follow watches a load to its end. What the worker says of a failure stands,
// whatever its exit says later.
func (h *hive) follow(ctx context.Context, w *worker) {
	up, cancel := context.WithCancel(ctx)
	defer cancel()
	late := time.AfterFunc(h.d.Settings.Limits.WorkerUp, cancel)
	defer late.Stop()
	for stage, err := range w.client.Progress(up) {
		late.Stop()
		if err == nil && stage != nil && stage.Stage == "failed" {
			w.become(api.Failed, stage.Error)
		}
	}
	if up.Err() != nil && ctx.Err() == nil {
		w.become(api.Failed, fmt.Sprintf("it did not come up in %v", h.d.Settings.Limits.WorkerUp))
		w.child.Stop(context.WithoutCancel(ctx), nil, h.grace())
	}
}

// unheard is after how many questions without an answer a worker is given up. An
// answer's own time is that of four: the queen, who tells its reader, comes first.
const unheard = 5

// heed ends a worker that answers nothing any more: one that was stopped, or whose
// machine code never returns. They are counted, for it may be us who were stopped.
func (h *hive) heed(ctx context.Context, w *worker) {
	limit := h.d.Settings.Limits.AnswerStall
	for missed := 0; missed < unheard; {
		ask, cancel := context.WithTimeout(ctx, limit/(unheard-1))
		_, err := w.client.Ready(ask)
		if err == nil {
			missed = 0
		} else {
			missed++
		}
		if err == nil || ask.Err() == nil { // a refusal is quick: the pause is the same
			<-ask.Done()
		}
		cancel()
		if ctx.Err() != nil {
			return
		}
	}
	w.become(api.Failed, fmt.Sprintf("it answers nothing for more than %v", limit))
	w.child.Stop(context.WithoutCancel(ctx), nil, h.grace())
}

// backMost is how long the driver of a GPU may take to give back a worker's memory;
// one or two seconds are usual.
const backMost = 10 * time.Second

// giveBack returns when what an ended worker had is free. The kernel has freed its
// memory of the machine before its end was seen. A GPU's driver may be slower. What
// does not come back is said, and the next worker finds less.
func (h *hive) giveBack(w *worker) {
	defer close(w.back)
	ctx, cancel := context.WithTimeout(h.life, backMost)
	defer cancel()
	if err := h.gpus.Back(ctx, w.child.Proc.PID, w.levels); err != nil {
		h.d.Log.Warn("the memory of a worker is not back", "worker_id", string(w.id), "error", err.Error())
	}
}

// gone tells whether the worker's process has ended.
func (w *worker) gone() bool {
	select {
	case <-w.child.Exited():
		return true
	default:
		return false
	}
}

// promised is the memory that a worker which loads will still take.
func (w *worker) promised() int64 {
	if state, _ := w.get(); state != api.Loading || w.gone() {
		return 0
	}
	return max(w.needs-machine.RSS(w.child.Proc.PID), 0)
}

// taken is the memory that a worker has or will have.
func (w *worker) taken() int64 {
	if state, _ := w.get(); state == api.Failed || w.gone() {
		return 0
	}
	return max(w.needs, machine.RSS(w.child.Proc.PID))
}

// view is a worker as lists show it; a loaded one is asked.
func (h *hive) view(ctx context.Context, w *worker) api.Worker {
	state, why := w.get()
	v := api.Worker{
		ID: w.id, ModelRef: w.ref, Backend: w.backend, Device: w.device,
		State: state, PID: w.child.Proc.PID, MemoryBytes: machine.RSS(w.child.Proc.PID), StartedAt: w.started.UTC(), LastActivity: w.started.UTC(), Error: why,
		ContextLength: w.context, Threads: w.threads, NeedsBytes: w.needs,
	}
	if w.port != 0 {
		v.URL = fmt.Sprintf("http://%s:%d", w.node, w.port)
	}
	select {
	case <-w.child.Exited():
		if state == api.Loading || state == api.Idle { // its last words are on their way
			v.State = api.Failed
		}
		return v
	default:
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

// views are the workers as lists show them, those of a lease only if one is given.
func (h *hive) views(ctx context.Context, leaseID string) api.Workers {
	all := h.nursery.all(leaseID)
	out := api.Workers{Workers: make([]api.Worker, len(all))}
	var asked sync.WaitGroup
	for i, w := range all {
		asked.Go(func() { out.Workers[i] = h.view(ctx, w) })
	}
	asked.Wait()
	return out
}

// ready takes a worker's callback and passes it on to its queen.
func (h *hive) ready(w *worker, r api.WorkerReady) {
	w.become(api.Idle, "")
	h.report.changed()
	h.d.Log.Info("worker ready", "worker_id", string(w.id), "took_ms", time.Since(w.started).Milliseconds())
	if w.queenURL != "" {
		h.nursery.running.Go(func() { h.tellQueen(w, r) })
	}
}

// tellQueen calls the queen until she has heard, or the worker is gone.
func (h *hive) tellQueen(w *worker, r api.WorkerReady) {
	ctx, cancel := context.WithCancel(h.life)
	defer cancel()
	queen := client.New(w.queenURL, client.Options{Token: w.token})
	defer queen.Close()
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		call, done := context.WithTimeout(ctx, 10*time.Second)
		err := queen.HiveWorkerReady(call, w.node, r)
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
