package registry

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"rbee/core"
)

func TestReady(t *testing.T) {
	var r Registry
	w := Worker{ID: "w1", Node: "mac", Hive: "h1", URL: "http://mac:8001", Shape: Shape{Model: core.Embedded}}
	r.Expect(w)
	if got, _ := r.Find("w1"); got.Ready {
		t.Error("ready before its callback")
	}
	for range 2 {
		if err := r.Ready(w); err != nil {
			t.Errorf("Ready: %v", err)
		}
	}
	r.Expect(w) // late: the callback was faster
	if got, _ := r.Find("w1"); !got.Ready {
		t.Error("Expect took the callback back")
	}
	w.URL = "http://mac:8002"
	if err := r.Ready(w); !errors.Is(err, core.WorkerRegistered) {
		t.Errorf("another URL: got %v", err)
	}
	if err := r.Ready(Worker{ID: "w2", Node: "pc"}); err != nil {
		t.Errorf("a worker nobody expected: %v", err)
	}
	r.RemoveHive("h1")
	if all := r.List(); len(all) != 1 || all[0].ID != "w2" {
		t.Errorf("List: %v", all)
	}
}

// A callback that was faster than the answer to the spawn knows less of its worker.
func TestExpectLate(t *testing.T) {
	var r Registry
	if err := r.Ready(Worker{ID: "w", Node: "localhost", URL: "http://localhost:8001"}); err != nil {
		t.Fatal(err)
	}
	want := Worker{ID: "w", Node: "mac", Hive: "h", URL: "http://localhost:8001", Shape: Shape{Model: core.Embedded, Threads: 2}}
	r.Expect(want)
	want.Ready = true
	if got, _ := r.Find("w"); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if err := r.Ready(Worker{ID: "w", Node: "localhost", URL: "http://localhost:8001"}); err != nil {
		t.Error(err)
	}
	if got, _ := r.Find("w"); got != want {
		t.Errorf("after another callback: %+v, want %+v", got, want)
	}
}

func TestFit(t *testing.T) {
	var r Registry
	plain := Shape{Model: core.Embedded, Backend: core.CPU}
	r.Expect(Worker{ID: "a", Hive: "h", Shape: plain})
	r.Expect(Worker{ID: "b", Hive: "h", Shape: plain})
	if err := r.Ready(Worker{ID: "b"}); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		hive   string
		change func(*Shape)
		want   core.WorkerID
	}{
		"the same":     {"h", func(*Shape) {}, "b"},
		"another hive": {"i", func(*Shape) {}, ""},
		"model":        {"h", func(s *Shape) { s.Model = "file:/x" }, ""},
		"backend":      {"h", func(s *Shape) { s.Backend = core.CUDA }, ""},
		"device":       {"h", func(s *Shape) { s.Device = 1 }, ""},
		"context":      {"h", func(s *Shape) { s.ContextLength = 64 }, ""},
		"threads":      {"h", func(s *Shape) { s.Threads = 1 }, ""},
	}
	for name, tt := range tests {
		s := plain
		tt.change(&s)
		if got, ok := r.Fit(tt.hive, s); got.ID != tt.want || ok != (tt.want != "") {
			t.Errorf("%s: got %q, %v", name, got.ID, ok)
		}
	}
}

func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Registry
		r.Expect(Worker{ID: "a"})
		r.Expect(Worker{ID: "b"})
		r.Expect(Worker{ID: "c"})
		ctx, cancel := context.WithCancelCause(t.Context())
		got := map[core.WorkerID]chan error{"a": make(chan error, 1), "b": make(chan error, 1), "c": make(chan error, 1)}
		for id, c := range got {
			go func() { _, err := r.Await(ctx, id); c <- err }()
		}
		synctest.Wait()
		if err := r.Ready(Worker{ID: "a"}); err != nil {
			t.Error(err)
		}
		r.Remove("b")
		synctest.Wait()
		late := errors.New("too late")
		cancel(late)
		for id, want := range map[core.WorkerID]error{"a": nil, "b": ErrGone, "c": late} {
			if err := <-got[id]; !errors.Is(err, want) {
				t.Errorf("Await(%s): got %v, want %v", id, err, want)
			}
		}
	})
}
