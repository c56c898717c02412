package hive

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/lease"
	"rbee/core/secure"
	"rbee/core/serve"
)

// gaugeBytes is what a measurement takes besides the model, to find out how fast
// memory is.
const gaugeBytes = 512 << 20

// postBench is POST /v1/bench: a model of this hive is measured by a process of its
// own, which ends when nobody reads the answer.
func (h *hive) postBench(c echo.Context) error {
	var r api.BenchRequest
	if err := serve.Body(c, &r); err != nil {
		return err
	}
	if err := r.Validate(); err != nil {
		return err
	}
	m, err := h.provision(c.Request().Context(), api.SpawnRequest{ModelRef: r.ModelRef, ContextLength: max(r.Context(), 1), Slots: 1})
	if err != nil {
		return err
	}
	defer m.release()
	if m.needs > 0 {
		m.needs += gaugeBytes
	}
	return serve.Lines(c, api.MIMELines, func(ctx context.Context, line func([]byte) error) error {
		ctx, stop := h.d.Until(ctx)
		defer stop()
		say := func(l api.BenchLine) error {
			b, err := json.Marshal(l)
			if err != nil {
				return err
			}
			return line(b)
		}
		err := h.bench(ctx, r, m, say)
		if err != nil && h.d.Ctx.Err() != nil {
			err = errEnding
		}
		if err != nil {
			return say(api.FailedBench(err))
		}
		return nil
	})
}

// bench measures when it is its turn: two at once would measure each other.
func (h *hive) bench(ctx context.Context, r api.BenchRequest, m provisioned, say func(api.BenchLine) error) error {
	tell := func(human string) error {
		return say(api.BenchLine{Narration: &api.Narration{Actor: "hive", Action: api.Note, Human: human}})
	}
	if err := h.takeTurn(ctx, tell); err != nil {
		return err
	}
	defer func() { <-h.measuring }()
	w, out, err := h.startBench(ctx, r, m)
	if err != nil {
		return err
	}
	defer h.stopWorker(context.WithoutCancel(ctx), w)
	defer out.Close()
	unhook := context.AfterFunc(ctx, func() { _ = out.Close() }) // ends the reading
	defer unhook()
	if err := tell(fmt.Sprintf("measuring %s", w.ref)); err != nil {
		return err
	}
	if err := h.readRows(ctx, w, out, tell, say); err != nil {
		return err
	}
	select {
	case <-w.child.Done():
		return benchFault(w)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// takeTurn returns when no other measurement is under way.
func (h *hive) takeTurn(ctx context.Context, tell func(string) error) error {
	select {
	case h.measuring <- struct{}{}:
		return nil
	default:
	}
	if err := tell("another measurement is under way; this one waits for it"); err != nil {
		return err
	}
	select {
	case h.measuring <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// readRows passes the results on, and says who is busy beside the measurement.
func (h *hive) readRows(ctx context.Context, w *worker, out io.Reader, tell func(string) error, say func(api.BenchLine) error) error {
	lines, said := bufio.NewScanner(out), ""
	for {
		if now := h.busyBeside(ctx, w); now != "" && now != said {
			said = now
			if err := tell("not alone: " + now + "; the figures may be low"); err != nil {
				return err
			}
		}
		if !lines.Scan() {
			return nil // how it ended, its exit says
		}
		row := &api.BenchRow{}
		if err := json.Unmarshal(lines.Bytes(), row); err != nil {
			return fmt.Errorf("hive: bench: %w", err)
		}
		row.File = string(w.ref)
		if err := say(api.BenchLine{Row: row}); err != nil {
			return err
		}
	}
}

// benchFault is why a measurement failed, in its own words; nil if it did not.
func benchFault(w *worker) error {
	err := w.child.Err()
	if err == nil {
		return nil
	}
	return &core.Fault{Kind: core.WorkerCrashed, What: strings.TrimPrefix(err.Error(), "llm-worker-rbee: "), Cause: err}
}

// startBench starts a measurement like a worker: it is listed as one that is busy, and
// has its memory, but no port. out is what it prints.
func (h *hive) startBench(ctx context.Context, r api.BenchRequest, m provisioned) (w *worker, out *io.PipeReader, err error) {
	w = &worker{
		id: core.WorkerID("bench-" + secure.RandomID()[:8]), node: h.node, ref: m.ref, needs: m.needs, backend: core.CPU, leaseID: r.LeaseID,
		context: r.Context(), started: time.Now(), state: api.Busy, log: lease.NewKept(100), back: make(chan struct{}),
	}
	run, err := h.underLease(w)
	if err != nil {
		return nil, nil, err
	}
	if err := h.nursery.settle(ctx, w.backend, w.device); err != nil {
		return nil, nil, err
	}
	w.levels = h.gpus.Levels()
	out, in := io.Pipe()
	err = h.nursery.spawn(w, func(others load) error { return room(m.needs, others, h.d.Settings.MemoryMax) }, func() (err error) {
		w.child, err = lease.Start(lease.Spec{
			Name: "llm-worker-rbee", Args: benchArgs(r.Tests, m.path), Run: run, Stdout: in, Log: io.MultiWriter(w.log, h.d.LogTo),
			Boot: lease.Boot{Token: w.token, Node: string(w.node), Instance: run, Mode: core.Ephemeral},
		})
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	h.nursery.running.Go(func() { h.seeBenchEnd(w, in) }) //nolint:contextcheck // what it had is given back after the call, too
	h.d.Log.Info("measurement started", "worker_id", string(w.id), "pid", w.child.Proc.PID, "model", string(w.ref))
	return w, out, nil
}

// seeBenchEnd waits for the end of a measurement.
func (h *hive) seeBenchEnd(w *worker, in *io.PipeWriter) {
	<-w.child.Done()
	_ = in.Close()
	h.giveBack(w)
	h.nursery.remove(w.id)
}

// benchArgs is the command line of a measurement.
func benchArgs(t api.Tests, path string) []string {
	list := func(numbers []int) string {
		var b strings.Builder
		for _, n := range numbers {
			b.WriteString("," + strconv.Itoa(n))
		}
		return strings.TrimPrefix(b.String(), ",")
	}
	args := []string{"bench", "--model", path, "--output", "jsonl"}
	for _, f := range []struct {
		flag    string
		numbers []int
	}{{"--n-prompt", t.Prompts}, {"--n-gen", t.Gens}, {"--n-depth", t.Depths}, {"--threads", t.Threads}} {
		if len(f.numbers) == 0 {
			f.numbers = []int{0}
		}
		args = append(args, f.flag, list(f.numbers))
	}
	if t.Repetitions > 0 {
		args = append(args, "--repetitions", strconv.Itoa(t.Repetitions))
	}
	return args
}

// busyBeside names the workers that take a measurement's cores; "" when there are none.
func (h *hive) busyBeside(ctx context.Context, own *worker) string {
	var names []string
	for _, v := range h.views(ctx, "").Workers {
		if v.ID != own.id && (v.State == api.Busy || v.State == api.Loading) {
			names = append(names, fmt.Sprintf("worker %s is %s", v.ID, v.State))
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
