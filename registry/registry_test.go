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
	w := Worker{ID: "w1", Node: "mac", URL: "http://mac:8001", Model: core.Embedded}
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
	r.RemoveNode("mac")
	if all := r.List(); len(all) != 1 || all[0].ID != "w2" {
		t.Errorf("List: %v", all)
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
