package queen

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/client"
	"rbee/core/config"
	"rbee/registry"
	"rbee/roles/cmdline"
)

// A script is a hive that says what a test has written for it, in that order; the
// last word of each again and again.
type script struct {
	refusals int // spawns that are refused before one is taken; -1: all
	lists    [][]api.Worker
	spawns   int
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fail := func(kind core.Kind, facts map[string]any) {
		w.WriteHeader(kind.Status())
		_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": kind, "message": "no", "details": facts}})
	}
	switch r.Method {
	case http.MethodPost:
		if s.spawns++; s.refusals < 0 || s.spawns <= s.refusals {
			fail(core.InsufficientMemory, map[string]any{"required_bytes": 10, "available_bytes": 4})
			return
		}
		_ = json.NewEncoder(w).Encode(api.Spawned{WorkerID: "new"})
	case http.MethodGet:
		_ = json.NewEncoder(w).Encode(api.Workers{Workers: s.lists[0]})
		if len(s.lists) > 1 {
			s.lists = s.lists[1:]
		}
	default: // an end that has begun already
		fail(core.Internal, nil)
	}
}

// alone is a queen with one hive, which h is.
func alone(t *testing.T, h http.Handler) (*queen, *link) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	q := &queen{d: &cmdline.Daemon{Settings: config.Settings{Limits: config.DefaultLimits()}}, slots: 4}
	q.fleet.q, q.pool.q = q, q
	return q, &link{id: "l", node: "mac", hive: client.New(server.URL, client.Options{}), gone: make(chan struct{}), held: &holds{}}
}

// What is on its way out or in is waited for. Only a refusal that nothing on the hive
// explains is one.
func TestSpawnWithoutRoom(t *testing.T) {
	one := func(id core.WorkerID, s api.WorkerState) []api.Worker {
		return []api.Worker{{ID: id, State: s, NeedsBytes: 10}}
	}
	none := []api.Worker{}
	tests := map[string]struct {
		hive   script
		want   error
		spawns int
	}{
		"one ends":                    {script{-1, [][]api.Worker{one("ours", api.Stopping)}, 0}, core.AllSlotsBusy, 1},
		"one was started just now":    {script{-1, [][]api.Worker{one("unknown", api.Loading)}, 0}, core.AllSlotsBusy, 1},
		"one was faster than we know": {script{-1, [][]api.Worker{one("early", api.Idle)}, 0}, core.AllSlotsBusy, 1},
		"another's":                   {script{-1, [][]api.Worker{one("unknown", api.Idle)}, 0}, core.InsufficientMemory, 2},
		"one has gone meanwhile":      {script{1, [][]api.Worker{none}, 0}, nil, 2},
		"an end that had begun":       {script{1, [][]api.Worker{one("ours", api.Idle), none}, 0}, nil, 2},
		"it never fits":               {script{-1, [][]api.Worker{none}, 0}, core.InsufficientMemory, 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			q, l := alone(t, &tt.hive)
			q.pool.known.Expect(registry.Worker{ID: "ours", Hive: l.id})
			q.pool.known.Expect(registry.Worker{ID: "early"})
			s, err := q.pool.spawn(t.Context(), l, want{}, func(api.Event) {})
			if !errors.Is(err, tt.want) || tt.want == nil && s.WorkerID != "new" || tt.hive.spawns != tt.spawns {
				t.Errorf("got %q, %v after %d spawns; want %v after %d", s.WorkerID, err, tt.hive.spawns, tt.want, tt.spawns)
			}
		})
	}
}

// Who does not wait for a load any more does not end it for others.
func TestAwaitCancelled(t *testing.T) {
	q, l := alone(t, http.NotFoundHandler())
	w := registry.Worker{ID: "w", Hive: l.id, URL: "http://mac:1"}
	q.pool.known.Expect(w)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := q.pool.await(ctx, l, w, func(api.Event) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was cancelled", err)
	}
	if _, ok := q.pool.known.Find("w"); !ok {
		t.Error("the worker was forgotten")
	}
	if _, err := q.pool.await(t.Context(), l, w, func(api.Event) {}); err == nil { // nothing answers at its port
		t.Error("loaded")
	}
	if _, ok := q.pool.known.Find("w"); ok {
		t.Error("a worker that does not answer is still known")
	}
}

// What is more than all workers of a machine may have is never worth ending one.
func TestNever(t *testing.T) {
	tests := map[string]struct {
		needs, most int64
		want        bool
	}{"no bound": {10, 0, false}, "it fits alone": {10, 10, false}, "it never fits": {11, 10, true}}
	for name, tt := range tests {
		refused := &core.Fault{Kind: core.InsufficientMemory, Facts: []core.Fact{core.Number("required_bytes", tt.needs), core.Number("available_bytes", 0)}}
		if tt.most > 0 {
			refused.Facts = append(refused.Facts, core.Number("memory_max_bytes", tt.most))
		}
		if got := never(refused); got != tt.want {
			t.Errorf("%s: got %v, want %v", name, got, tt.want)
		}
	}
}
