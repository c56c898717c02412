package fetch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"rbee/core"
	"rbee/core/api"
)

// A pull fetches what is missing of one file. It owns the part.
type pull struct {
	f      *Fetcher
	j      *job
	p      *part
	fl     *flight
	log    *slog.Logger
	moved  chan struct{} // holds one token: the front may have moved, for the hash
	grown  chan struct{} // the same, for the disk
	served chan struct{} // closed after the first answer of a run

	mu      sync.Mutex // guards the rest
	st      state
	todo    []span // in order; the pieces being fetched are not among them
	known   bool   // the first answer has come
	whole   bool   // the server gives no ranges
	noRange bool   // and does not need to be asked again
	checked int64  // bytes since the last look at the disk
}

// A piece is a range that one worker fetches.
type piece struct {
	from, at, to int64 // to: −1 when the size is not known
	noted        int64 // up to where the state has it
}

// An anew is why a file must be fetched from its start again.
type anew struct {
	kind  error
	cause error
}

func (a *anew) Error() string   { return a.kind.Error() + ": " + a.cause.Error() }
func (a *anew) Unwrap() []error { return []error{a.kind, a.cause} }

var (
	errChanged = errors.New("the file has changed at its source")
	errBroken  = errors.New("the transfer broke off, and the server cannot go on where it was")
	errWrong   = errors.New("the content is not what was promised")
)

// How often a file is fetched from its start again.
const (
	mostWrong   = 1
	mostChanged = 3
)

func (f *Fetcher) newPull(j *job, p *part, fl *flight) *pull {
	return &pull{f: f, j: j, p: p, fl: fl, log: f.o.Log.With("model", string(j.ref), "file", j.Name)}
}

// enter notes that a pull writes to the disk, or has ended.
func (f *Fetcher) enter(d *pull, begins bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if begins {
		f.pulls[d] = true
	} else {
		delete(f.pulls, d)
	}
}

// fetch runs until the file is whole and right, from the start again where it must.
func (d *pull) fetch(ctx context.Context) (Result, error) {
	if err := d.open(); err != nil {
		return Result{}, d.disk(err)
	}
	again := map[error]int{errWrong: mostWrong, errChanged: mostChanged, errBroken: d.f.o.Tries - 1}
	most := int64(0)
	for {
		sum, err := d.run(ctx)
		if err == nil {
			return d.finish(sum)
		}
		why, ok := errors.AsType[*anew](err)
		if !ok {
			return Result{}, err
		}
		broken := errors.Is(why, errBroken)
		if got := d.fl.done.Load(); broken && got > most {
			most, again[errBroken] = got, d.f.o.Tries-1
		}
		if err := d.restart(why); err != nil {
			return Result{}, d.disk(err)
		}
		if again[why.kind]--; again[why.kind] < 0 {
			return Result{}, d.failed(core.DownloadFailed, err)
		}
		if broken {
			if err := sleep(ctx, backoff(d.f.o.Backoff, d.f.o.Tries-again[errBroken]-1, why.cause)); err != nil {
				return Result{}, err
			}
		}
	}
}

// open reads the state of what is here already, if it is of this file.
func (d *pull) open() error {
	boot := bootID()
	fresh := state{Ref: string(d.j.ref), Name: d.j.Name, Size: d.j.Size, SHA256: d.j.SHA256, Boot: boot}
	info, err := d.p.data.Stat()
	if err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	st, err := d.p.load()
	st = st.afterReboot(boot)
	st.Complete = false // or it would not be here
	fits := err == nil && st.Done.end() <= info.Size() &&
		(d.j.Size < 0 || st.Size < 0 || st.Size == d.j.Size) && (d.j.SHA256 == "" || st.SHA256 == d.j.SHA256)
	if !fits {
		d.st = fresh
		d.fl.done.Store(0)
		return d.p.empty(d.st)
	}
	d.st = st
	d.st.Ref, d.st.Name, d.st.Size = fresh.Ref, fresh.Name, max(st.Size, d.j.Size)
	d.fl.done.Store(st.Done.bytes())
	d.fl.total.Store(max(d.st.Size, 0))
	if n := st.Done.bytes(); n > 0 {
		d.log.Info("download goes on", "bytes_here", n, "size", d.st.Size)
	}
	return nil
}

// restart throws away what is here.
func (d *pull) restart(why *anew) error {
	d.log.Warn("download starts anew", "bytes_lost", d.fl.done.Load(), "error", why.Error())
	d.mu.Lock()
	defer d.mu.Unlock()
	d.st = state{Ref: d.st.Ref, Name: d.st.Name, Size: d.j.Size, SHA256: d.j.SHA256, Boot: d.st.Boot}
	d.fl.done.Store(0)
	return d.p.empty(d.st)
}

// run fetches what is missing once through, hashing on the way, and returns the hash
// of the whole file when it is the right one.
func (d *pull) run(ctx context.Context) (string, error) {
	d.prepare()
	ctx, cancel := context.WithCancelCause(ctx)
	var work, follow sync.WaitGroup
	defer func() { cancel(nil); follow.Wait(); d.note() }()
	fail := func(err error) {
		if err != nil {
			cancel(err)
		}
	}
	work.Go(func() { fail(d.work(ctx)) })
	d.begun(ctx)
	for range d.f.o.Ranges - 1 {
		work.Go(func() { fail(d.work(ctx)) })
	}
	var sum string
	complete := make(chan struct{})
	follow.Go(func() { fail(d.settle(ctx, complete)) })
	hashed := make(chan struct{})
	follow.Go(func() {
		defer close(hashed)
		var err error
		sum, err = d.hash(ctx, complete)
		fail(err)
	})
	work.Wait()
	if ctx.Err() == nil {
		d.fl.at(api.StageVerifying)
	}
	close(complete)
	<-hashed
	d.fl.at(api.StageDownloading)
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	return sum, d.verify(sum)
}

// prepare sets up what a run starts from.
func (d *pull) prepare() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.moved, d.grown, d.served = make(chan struct{}, 1), make(chan struct{}, 1), make(chan struct{})
	d.known, d.whole = false, false
	if d.st.Size < 0 {
		d.todo = []span{{0, d.pieceSize()}}
	} else if d.todo = d.st.Done.gaps(d.st.Size, d.pieceSize()); len(d.todo) == 0 {
		d.known = true
		close(d.served)
	}
}

// pieceSize is how long ranges are: short enough for the hash to keep near the end.
func (d *pull) pieceSize() int64 {
	size := cmp.Or(d.f.o.RangeSize, min(max(d.st.Size/64, minRange), maxRange))
	return max(size, d.st.Size/maxPieces)
}

// begun waits for the first answer, or the end.
func (d *pull) begun(ctx context.Context) {
	select {
	case <-d.served:
	case <-ctx.Done():
	}
}

// next gives out a piece; false: there is none left.
func (d *pull) next() (*piece, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.todo) == 0 {
		return nil, false
	}
	s := d.todo[0]
	d.todo = d.todo[1:]
	return &piece{from: s.From, at: s.From, noted: s.From, to: s.To}, true
}

// work fetches pieces while there are any.
func (d *pull) work(ctx context.Context) error {
	buf := make([]byte, d.f.buffer)
	for ctx.Err() == nil {
		p, ok := d.next()
		if !ok {
			return nil
		}
		if err := d.piece(ctx, p, buf); err != nil {
			d.mu.Lock()
			d.count(p)
			d.mu.Unlock()
			return err
		}
	}
	return context.Cause(ctx)
}

// count puts into the state what has come of a piece; d.mu is held.
func (d *pull) count(p *piece) {
	d.st.Done = d.st.Done.with(span{p.noted, p.at})
	p.noted = p.at
}

// piece fetches one, trying again from where it broke off.
func (d *pull) piece(ctx context.Context, p *piece, buf []byte) error {
	for try := 1; ; try++ {
		at := p.at
		err := d.attempt(ctx, p, buf)
		if err == nil {
			return nil
		}
		if errors.Is(err, errMore) {
			try = 0
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if final(err) {
			return err
		}
		if p.at > at {
			try = 1
		}
		if again := d.resumable(err); again != nil {
			return again
		}
		if try >= d.f.o.Tries {
			return d.exhausted(err, try)
		}
		wait := backoff(d.f.o.Backoff, try, err)
		d.log.Info("download tries again", "from", p.at, "try", try+1, "wait", wait, "error", err.Error())
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// resumable is nil when the rest of a file may be asked for after err: it must be
// known that it is still the same file.
func (d *pull) resumable(err error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known && (d.whole || d.st.SHA256 == "" && d.st.Validator == "") {
		return &anew{errBroken, err}
	}
	return nil
}

// wrote counts n bytes of a piece in, and writes the state often enough for a kill to
// lose less than a MiB of a range.
func (d *pull) wrote(p *piece, n int) error {
	d.fl.done.Add(int64(n))
	d.mu.Lock()
	defer d.mu.Unlock()
	p.at += int64(n)
	if p.at-p.noted < mebi/2 && p.at != p.to {
		return nil
	}
	d.checked += p.at - p.noted
	d.count(p)
	for _, c := range []chan struct{}{d.moved, d.grown} {
		select {
		case c <- struct{}{}:
		default:
		}
	}
	if err := d.p.save(d.st); err != nil {
		return d.disk(err)
	}
	if d.checked < 16*mebi {
		return nil
	}
	d.checked = 0
	return d.spaceLeft()
}

// note writes the state at the end of a run.
func (d *pull) note() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.p.save(d.st); err != nil {
		d.log.Warn("download state", "error", err.Error())
	}
}

// verify compares the file with what was promised.
func (d *pull) verify(sum string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if front := d.st.Done.front(); front != d.st.Size {
		return fmt.Errorf("fetch: %s: %d of %d bytes are here at the end", d.p.path, front, d.st.Size)
	}
	if want := d.st.SHA256; want != "" && sum != want {
		return &anew{errWrong, fmt.Errorf("its SHA-256 is %s, not %s", sum, want)}
	}
	return nil
}

// finish brings the file, which is verified, to its place. Whoever waits for the lock
// reads its hash in the state.
func (d *pull) finish(sum string) (Result, error) {
	d.st.SHA256, d.st.Complete = sum, true
	r := Result{Name: d.j.Name, Path: d.j.place(sum), Size: d.st.Size, SHA256: sum}
	err := d.p.data.Sync()
	if err == nil {
		err = d.p.save(d.st)
	}
	if err == nil {
		err = d.p.finish(r.Path)
	}
	if err != nil {
		return Result{}, d.disk(err)
	}
	d.log.Info("download complete", "bytes", r.Size, "sha256", sum, "path", r.Path)
	return r, nil
}
