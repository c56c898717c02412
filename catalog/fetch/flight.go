package fetch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"rbee/core/api"
)

// A flight is the one download of a file in this process, for all who ask for it.
type flight struct {
	callers int // guarded by the fetcher; 0: it is being given up
	cancel  context.CancelCauseFunc
	ended   chan struct{} // closed when result and err are there
	result  Result
	err     error

	stage       atomic.Pointer[string]
	done, total atomic.Int64
}

// errLeft is why a flight ends whose last caller has left.
var errLeft = errors.New("fetch: nobody waits for it any more")

func (fl *flight) at(stage string) { fl.stage.Store(&stage) }

// join waits for the download of j, which it starts unless there is one.
func (f *Fetcher) join(ctx context.Context, j *job, t *teller) (Result, error) {
	fl, err := f.board(ctx, j)
	if err != nil {
		return Result{}, err
	}
	tick := time.NewTicker(f.o.Every)
	defer tick.Stop()
	for {
		select {
		case <-fl.ended:
			f.leave(fl)
			if fl.err == nil {
				t.say(api.StageVerifying, fl.result.Size, fl.result.Size)
			}
			return fl.result, fl.err
		case <-ctx.Done():
			if f.leave(fl) {
				<-fl.ended
			}
			return Result{}, context.Cause(ctx)
		case <-tick.C:
			t.say(*fl.stage.Load(), fl.done.Load(), fl.total.Load())
		}
	}
}

// board returns the flight of j. One that is being given up is waited for first.
func (f *Fetcher) board(ctx context.Context, j *job) (*flight, error) {
	id := j.place(j.key)
	for {
		f.mu.Lock()
		fl := f.flights[id]
		if fl == nil {
			fl = f.start(ctx, id, j)
		}
		dying := fl.callers == 0 && fl.cancel == nil
		if !dying {
			fl.callers++
		}
		f.mu.Unlock()
		if !dying {
			return fl, nil
		}
		select {
		case <-fl.ended:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// start starts a flight; f.mu is held. It outlives the caller who starts it when
// another one has joined.
func (f *Fetcher) start(ctx context.Context, id string, j *job) *flight {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	fl := &flight{cancel: cancel, ended: make(chan struct{})}
	fl.at(api.StageDownloading)
	fl.total.Store(max(j.Size, 0))
	f.flights[id] = fl
	go func() {
		fl.result, fl.err = f.bring(ctx, j, fl)
		cancel(nil)
		f.mu.Lock()
		delete(f.flights, id)
		f.mu.Unlock()
		close(fl.ended)
	}()
	return fl
}

// leave counts a caller out; true: it was the last one, and the download ends.
func (f *Fetcher) leave(fl *flight) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	fl.callers--
	if fl.callers > 0 {
		return false
	}
	fl.cancel(errLeft)
	fl.cancel = nil
	return true
}

// bring is a flight: it takes the lock of the file, or waits for who has it, and
// fetches what is missing.
func (f *Fetcher) bring(ctx context.Context, j *job, fl *flight) (Result, error) {
	p, r, err := f.claim(ctx, j, fl)
	if p == nil {
		return r, err
	}
	defer p.Close()
	d := f.newPull(j, p, fl)
	f.enter(d, true)
	defer f.enter(d, false)
	return d.fetch(ctx)
}

// claim returns the part of j with its lock, or the whole file if it is here, or has
// come while another process fetched it.
func (f *Fetcher) claim(ctx context.Context, j *job, fl *flight) (*part, Result, error) {
	sum, came := j.SHA256, false
	for {
		if r, ok := j.here(sum); ok && came {
			return nil, r, nil
		}
		p, err := openPart(f.o.Dir, j.key)
		if err != nil {
			return nil, Result{}, err
		}
		if err := f.await(ctx, p, fl); err != nil {
			return nil, Result{}, errors.Join(err, p.Close())
		}
		if p.current() {
			return f.unlessHere(ctx, j, p, sum, fl)
		}
		if st, err := p.load(); err == nil && st.Complete {
			sum, came = st.SHA256, true
		}
		if err := p.Close(); err != nil {
			return nil, Result{}, err
		}
	}
}

// unlessHere returns the part, whose lock we have, unless the whole file is in its
// place: it is hashed, for a disk may have spoilt it since it came. One that is wrong
// is put aside.
func (f *Fetcher) unlessHere(ctx context.Context, j *job, p *part, sum string, fl *flight) (*part, Result, error) {
	r, ok := j.here(sum)
	if !ok {
		return p, Result{}, nil
	}
	fl.at(api.StageVerifying)
	got, err := sumOf(ctx, r.Path)
	fl.at(api.StageDownloading)
	switch {
	case err != nil:
		return nil, Result{}, errors.Join(err, p.Close())
	case got == sum:
		return nil, r, errors.Join(p.remove(), p.Close())
	}
	f.o.Log.Warn("a file is damaged and fetched again", "path", r.Path, "sha256", got)
	if err := os.Rename(r.Path, r.Path+wrongSuffix); err != nil {
		return nil, Result{}, errors.Join(fmt.Errorf("fetch: %w", err), p.Close())
	}
	return p, Result{}, nil
}

// await takes the lock of p, and tells meanwhile how far its owner is.
func (f *Fetcher) await(ctx context.Context, p *part, fl *flight) error {
	defer fl.at(api.StageDownloading)
	for {
		if ok, err := p.lock(); ok || err != nil {
			return err
		}
		fl.at(api.StageWaiting)
		if st, err := p.load(); err == nil {
			fl.done.Store(st.Done.bytes())
			fl.total.Store(max(st.Size, 0))
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(f.o.Every):
		}
	}
}
