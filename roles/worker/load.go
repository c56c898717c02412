package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/client"
	"rbee/inference"
)

// A state is how far the model is. Readers wait for changes.
type state struct {
	mu      sync.Mutex // guards all
	stage   api.LoadStage
	engine  *inference.Engine
	err     error
	changed chan struct{} // closed at the next change
}

// get returns the state and what is closed when it changes.
func (s *state) get() (stage api.LoadStage, e *inference.Engine, changed <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	if s.stage.Stage == "" {
		s.stage.Stage = "loading"
	}
	return s.stage, s.engine, s.changed, s.err
}

func (s *state) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	if s.changed != nil {
		close(s.changed)
	}
	s.changed = nil
}

// loadAndRun loads the model, says so, and runs it until ctx is done.
func (s *server) loadAndRun(ctx context.Context) error {
	began := time.Now()
	s.sha.mu.Lock()
	s.sha.loaded = stampOf(s.opts.model)
	s.sha.mu.Unlock()
	e, err := inference.Open(ctx, s.opts.model, inference.Options{
		ContextLength: s.opts.ctx, Slots: s.opts.slots, Threads: s.opts.threads, Hardware: s.opts.cpu,
	}, s.loaded)
	if err != nil && ctx.Err() != nil {
		return nil //nolint:nilerr // the end came first
	}
	if err != nil {
		err = s.loadFault(err)
		s.state.set(func() {
			f := core.FaultOf(err)
			s.state.err, s.state.stage.Stage = err, "failed"
			s.state.stage.Code, s.state.stage.Error, s.state.stage.Try = f.Kind, f.What, f.Try
		})
		s.stayFailed(ctx)
		return err
	}
	info := e.Info()
	s.state.set(func() {
		s.state.engine = e
		s.state.stage.Stage, s.state.stage.MemoryBytes = "ready", info.MemoryBytes
	})
	s.d.Log.Info("model loaded", "model", string(s.opts.ref), "took_ms", time.Since(began).Milliseconds(), "memory_bytes", info.MemoryBytes)
	var call sync.WaitGroup
	call.Go(func() { s.callBack(ctx) })
	err = errors.Join(e.Run(ctx), e.Close())
	call.Wait()
	return err
}

// stayFailed keeps a failed worker of a hive for a while, so that whoever waits for
// it can read why: its exit would tell less, and sometimes be seen first.
func (s *server) stayFailed(ctx context.Context) {
	if s.opts.hive == "" {
		return
	}
	select {
	case <-time.After(s.d.Settings.Limits.WorkerUp):
	case <-ctx.Done():
	}
}

func (s *server) loaded(p inference.Progress) {
	s.state.set(func() {
		s.state.stage.LayersLoaded, s.state.stage.LayersTotal, s.state.stage.MemoryBytes = p.LayersLoaded, p.LayersTotal, p.MemoryBytes
	})
}

// loadFault makes an error of the engine one that names the model and the next step.
func (s *server) loadFault(err error) error { return loadFault(s.opts.model, err) }

func loadFault(model string, err error) error {
	f := &core.Fault{Kind: core.Internal, What: fmt.Sprintf("model %s: %v", model, err), Cause: err}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.Kind, f.What, f.Try = core.ModelNotFound, fmt.Sprintf("model file %s is not there", model), "check the path"
	case errors.Is(err, inference.ErrUnsupported):
		f.Kind, f.What = core.Unsupported, plain(err)
		f.Try = "give a model of an architecture and of types that this version knows: rbee worker inspect shows a file's own"
	case errors.Is(err, inference.ErrFormat):
		f.Kind, f.Try = core.Invalid, "give a whole GGUF file; one that is cut off must be downloaded again"
	}
	return f
}

// plain is an error without the names of the engine's packages before it.
func plain(err error) string {
	text := err.Error()
	for _, prefix := range []string{inference.ErrUnsupported.Error() + ": ", "model: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return text
}

// hash is the hash of the model, nil while nobody knows it. It may have been
// computed since the start: the hive is asked, as long as the file is the one that
// was loaded.
func (s *server) hash() *string {
	s.sha.mu.Lock()
	defer s.sha.mu.Unlock()
	if s.opts.sha == "" && s.opts.hive != "" && s.sha.loaded != (stamp{}) && s.sha.loaded == stampOf(s.opts.model) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.d.Ctx), time.Second)
		defer cancel()
		hive := client.New(s.opts.hive, client.Options{Token: s.d.Token})
		defer hive.Close()
		list, _ := hive.Models(ctx) // a hive that does not answer knows nothing
		for _, m := range list.Models {
			if m.Ref == s.opts.ref && m.Path == s.opts.model {
				s.opts.sha = m.SHA256
			}
		}
	}
	if s.opts.sha == "" {
		return nil
	}
	sha := s.opts.sha
	return &sha
}

// A stamp tells a file from what may lie at its path later.
type stamp struct{ size, modified int64 }

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{info.Size(), info.ModTime().UnixNano()}
}

// callBack tells the hive that the worker is ready, until it has heard.
func (s *server) callBack(ctx context.Context) {
	if s.opts.hive == "" {
		return
	}
	hive := client.New(s.opts.hive, client.Options{Token: s.d.Token})
	ready := api.WorkerReady{WorkerID: s.opts.id, URL: s.opts.url, ModelRef: s.opts.ref, Backend: s.opts.backend, Device: s.opts.device}
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := hive.WorkerReady(ctx, s.opts.node, ready)
		if err == nil || ctx.Err() != nil {
			return
		}
		s.d.Log.Warn("the hive did not take the callback", "error", err.Error())
		if errors.Is(err, core.WorkerNotFound) {
			return // it did not start us
		}
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
			return
		}
	}
}

// ready is GET /v1/ready.
func (s *server) ready(c echo.Context) error {
	stage, e, _, _ := s.state.get()
	r := api.Ready{State: api.Loading, ProgressURL: s.opts.url + "/v1/loading/progress"}
	switch {
	case stage.Stage == "failed":
		r.State, r.Error = api.Failed, stage.Error
	case s.d.Ctx.Err() != nil:
		r.State = api.Stopping
	case e != nil:
		total := e.Info().Slots
		r = api.Ready{Ready: true, State: api.Idle, SlotsTotal: total, SlotsBusy: total - e.SlotsFree(), IdleMS: s.jobs.idle().Milliseconds()}
		if r.SlotsBusy > 0 {
			r.State = api.Busy
		}
	}
	return c.JSON(http.StatusOK, r)
}

// probe is GET /ready: 200 when loaded, else 503.
func (s *server) probe(c echo.Context) error {
	if _, err := s.engine(); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, api.Message{Message: "ready"})
}

// engine returns the loaded engine, or why there is none.
func (s *server) engine() (*inference.Engine, error) {
	stage, e, _, err := s.state.get()
	switch {
	case err != nil:
		return nil, err
	case s.d.Ctx.Err() != nil:
		return nil, &core.Fault{Kind: core.ShuttingDown, What: "the worker is ending"}
	case e == nil:
		return nil, &core.Fault{Kind: core.WorkerNotReady, What: fmt.Sprintf("the model is loading: %d of %d layers", stage.LayersLoaded, stage.LayersTotal)}
	}
	return e, nil
}

// progress is GET /v1/loading/progress: the state at each change, to the end of the load.
func (s *server) progress(c echo.Context) error {
	out := api.NewStream(c.Response())
	ctx, cancel := context.WithCancel(c.Request().Context())
	defer cancel()
	var alive sync.WaitGroup
	defer alive.Wait()
	defer cancel()
	alive.Go(func() { out.KeepAlive(ctx, 5*time.Second, func() string { return "loading" }) })
	for {
		stage, _, changed, _ := s.state.get()
		b, err := json.Marshal(stage)
		if err != nil {
			return fmt.Errorf("worker: progress: %w", err)
		}
		if out.Data(b) != nil {
			return nil // the reader is gone
		}
		if stage.Stage != "loading" {
			return out.Done()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		case <-s.d.Ctx.Done():
			return nil
		}
	}
}
