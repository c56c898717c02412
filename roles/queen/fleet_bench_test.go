package queen

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/client"
	"rbee/core/config"
	"rbee/registry"
	"rbee/roles/cmdline"
)

const (
	manyHives  = 1000
	perHive    = 5
	manyModels = 50
)

// BenchmarkFleet is a queen with 1,000 hives and 5,000 workers that report over
// HTTP, on one core. It measures the look-up of a worker for a task, what the
// heartbeats of all take of the core at their usual pace, and the memory.
func BenchmarkFleet(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	q, server := crowd(b)
	c := client.New(server.URL, client.Options{})
	defer c.Close()
	for i := range manyHives {
		if _, err := c.Join(b.Context(), reportOf(i)); err != nil {
			b.Fatal(err)
		}
	}
	cpu := cpuTime()
	for i := range manyHives {
		r := reportOf(i)
		r.URL, r.Models = "", nil
		if _, err := c.Heartbeat(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
	share := (cpuTime() - cpu).Seconds() / config.DefaultLimits().Heartbeat.Seconds() // one of each hive in this time; the callers' part is in it

	var took []time.Duration
	for n := 0; b.Loop(); n++ {
		w := want{Shape: registry.Shape{Model: modelNo(n), Backend: core.CPU}}
		start := time.Now()
		w.node = q.place(b.Context(), w)
		l, err := q.fleet.find(w.node)
		if err != nil || l == nil {
			b.Fatalf("no link to %s: %v", w.node, err)
		}
		if _, ok := q.pool.known.Fit(l.id, w.Shape); !ok {
			b.Fatalf("no worker for %s on %s", w.Model, w.node)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	var mem runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&mem)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(100*share, "%-of-a-core-for-heartbeats")
	b.ReportMetric(float64(mem.HeapInuse)/(1<<20), "MiB")
}

func modelNo(n int) core.ModelRef {
	return core.ModelRef(fmt.Sprintf("file:/models/%d.gguf", n%manyModels))
}

// crowd is a queen that holds many hives, with her server.
func crowd(b *testing.B) (*queen, *httptest.Server) {
	b.Helper()
	d := &cmdline.Daemon{Mode: core.Persistent, Settings: config.Settings{Limits: config.DefaultLimits()}, Log: slog.New(slog.DiscardHandler), Ctx: context.Background()}
	q := &queen{d: d, slots: 4}
	q.fleet.q, q.pool.q = q, q
	for i := range manyHives {
		l := &link{id: fmt.Sprintf("l%d", i), node: nodeNo(i), hive: client.New("http://127.0.0.1:1", client.Options{}), gone: make(chan struct{}), held: &holds{}}
		if err := q.fleet.put(l); err != nil {
			b.Fatal(err)
		}
	}
	server := httptest.NewServer(q.routes())
	b.Cleanup(server.Close)
	return q, server
}

func nodeNo(i int) core.NodeName { return core.NodeName(fmt.Sprintf("node%04d", i)) }

// reportOf is what a hive says of itself. Its free memory is never twice the same.
func reportOf(i int) api.Report {
	r := api.Report{
		ID: fmt.Sprintf("h-%d", i), Node: nodeNo(i), URL: "http://127.0.0.1:9200", Version: core.Version, DiskFreeBytes: 1 << 40,
		Devices: []core.Device{{Backend: core.CPU, Name: "some processor", MemoryTotalBytes: 64 << 30, MemoryFreeBytes: time.Now().UnixNano()}},
	}
	for j := range perHive {
		model := modelNo(i*perHive + j)
		r.Workers = append(r.Workers, api.Worker{
			ID: core.WorkerID(fmt.Sprintf("w-%d-%d", i, j)), URL: fmt.Sprintf("http://%s:%d", r.Node, 8001+j), ModelRef: model, Backend: core.CPU,
			State: api.Idle, SlotsTotal: 4, SlotsAvailable: 4, MemoryBytes: 4 << 30, LastActivity: time.Now(), StartedAt: time.Now(),
		})
		r.Models = append(r.Models, api.Model{Ref: model, SizeBytes: 4 << 30})
	}
	return r
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
