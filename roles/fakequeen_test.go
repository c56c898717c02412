package roles

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"rbee/core"
	"rbee/core/api"
)

// A fakeQueen speaks the wire of a queen, and says what a test has it say: the
// screens of the keeper then have the same figures every time.
type fakeQueen struct {
	t     *testing.T
	url   string
	pulls chan *fakeStream // that somebody asks for
	tasks chan *fakeStream
	mux   *http.ServeMux
}

// A fakeStream is one stream that was asked for.
type fakeStream struct {
	q     *fakeQueen
	model core.ModelRef
	body  api.PullRequest // of a pull
	gone  <-chan struct{} // closed when the one who asked has left
	next  chan func(*api.Stream) error
	sent  chan error
}

func newFakeQueen(t *testing.T) *fakeQueen {
	q := &fakeQueen{t: t, pulls: make(chan *fakeStream, 10), tasks: make(chan *fakeStream, 10), mux: http.NewServeMux()}
	q.answer("GET /health", api.Health{Role: "queen", Mode: core.Persistent, Version: core.Version})
	q.mux.HandleFunc("POST /v2/models/pull", func(w http.ResponseWriter, r *http.Request) {
		var body api.PullRequest
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		q.stream(r.Context(), w, q.pulls, &fakeStream{model: body.Model, body: body})
	})
	q.mux.HandleFunc("POST /v2/tasks", func(w http.ResponseWriter, r *http.Request) {
		var body api.TaskRequest
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		q.stream(r.Context(), w, q.tasks, &fakeStream{model: body.Model})
	})
	s := httptest.NewServer(q.mux)
	t.Cleanup(s.Close)
	q.url = s.URL
	return q
}

// answer has a route give an answer.
func (q *fakeQueen) answer(route string, v any) {
	q.mux.HandleFunc(route, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(v); err != nil {
			q.t.Error(err)
		}
	})
}

// stream hands a stream over to the test, and writes what that says.
func (q *fakeQueen) stream(ctx context.Context, w http.ResponseWriter, to chan *fakeStream, s *fakeStream) {
	s.q, s.gone, s.next, s.sent = q, ctx.Done(), make(chan func(*api.Stream) error), make(chan error)
	out := api.NewStream(w)
	if err := out.Send(&api.Comment{Text: "here"}); err != nil { // the headers go with it
		return
	}
	to <- s
	for {
		select {
		case write, ok := <-s.next:
			if !ok {
				_ = out.Done()
				return
			}
			s.sent <- write(out)
		case <-ctx.Done():
			return
		}
	}
}

// pull is the pull of a model that is asked for.
func (q *fakeQueen) pull(models ...core.ModelRef) map[core.ModelRef]*fakeStream {
	q.t.Helper()
	got := map[core.ModelRef]*fakeStream{}
	for range models {
		s := q.asked(q.pulls)
		got[s.model] = s
	}
	for _, m := range models {
		if got[m] == nil {
			q.t.Fatalf("nobody asked to pull %s", m)
		}
	}
	return got
}

func (q *fakeQueen) asked(from chan *fakeStream) *fakeStream {
	q.t.Helper()
	select {
	case s := <-from:
		return s
	case <-time.After(patience):
		q.t.Fatal("nobody asks")
		return nil
	}
}

// say writes a stage.
func (s *fakeStream) say(stage api.PullStage) {
	s.q.t.Helper()
	b, err := json.Marshal(stage)
	if err != nil {
		s.q.t.Fatal(err)
	}
	s.write(func(out *api.Stream) error { return out.Data(b) })
	if stage.Final() {
		close(s.next)
	}
}

// event writes an event of an answer.
func (s *fakeStream) event(ev api.Event) {
	s.q.t.Helper()
	s.write(func(out *api.Stream) error { return out.Send(ev) })
	switch ev.(type) {
	case *api.End, *api.Failure:
		close(s.next)
	}
}

func (s *fakeStream) write(f func(*api.Stream) error) {
	s.q.t.Helper()
	select {
	case s.next <- f:
		if err := <-s.sent; err != nil {
			s.q.t.Fatal(err)
		}
	case <-s.gone:
		s.q.t.Fatalf("nobody reads the stream of %s any more", s.model)
	}
}

// left waits until the one who asked has gone.
func (s *fakeStream) left() {
	s.q.t.Helper()
	select {
	case <-s.gone:
	case <-time.After(patience):
		s.q.t.Errorf("the stream of %s is still read", s.model)
	}
}
