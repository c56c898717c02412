package queen

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"rbee/core"
	"rbee/core/api"
)

// settling is how long a worker must have been unused before it makes room for
// another: one that has just been loaded is about to be used.
const settling = 200 * time.Millisecond

// spawn starts a worker. Where there is no room, workers that nobody uses are ended
// for it, those first that were not used for longest. A refusal that cannot be helped
// must come twice: whoever had the memory may have gone after the first.
func (p *pool) spawn(ctx context.Context, l *link, w want, say narrator) (api.Spawned, error) {
	r := api.SpawnRequest{
		ModelRef: w.Model, Backend: w.Backend, Device: w.Device, ContextLength: w.ContextLength, Threads: w.Threads,
		Slots: cmp.Or(w.slots, p.q.slots), LeaseID: l.lease,
	}
	for sure := false; ; {
		s, err := l.hive.Spawn(ctx, r)
		if !errors.Is(err, core.InsufficientMemory) {
			return s, err
		}
		err = p.makeRoom(ctx, l, err, say)
		if err != nil && (sure || !errors.Is(err, core.InsufficientMemory)) {
			return s, err
		}
		sure = err != nil
	}
}

// makeRoom ends one idle worker of the hive that has refused another for want of
// memory. When all idle ones together are not enough, none is ended and refused is
// returned; or, when busy ones would be, an error that says to wait for them.
func (p *pool) makeRoom(ctx context.Context, l *link, refused error, say narrator) error {
	for tries := 0; ; tries++ {
		list, err := l.hive.Workers(ctx)
		if err != nil {
			return err
		}
		idle, busy := p.occupants(l, list.Workers)
		missing := lacking(refused)
		switch {
		case never(refused) || sum(idle) < missing && sum(idle)+sum(busy) < missing || len(idle)+len(busy) == 0:
			return refused
		case sum(idle) < missing || tries > int(time.Second/settling):
			return &core.Fault{Kind: core.AllSlotsBusy, What: fmt.Sprintf("%v; what is loaded on %s is in use", refused, l.node)}
		}
		for _, v := range idle {
			if l.hive.RetireWorker(ctx, v.ID, settling) != nil {
				continue // it is in use, or its end has begun
			}
			p.known.Remove(v.ID)
			say.that(api.Cleanup, fmt.Sprintf("%s on %s made room", v.ModelRef, l.node))
			return nil
		}
		select { // each of them was used just now
		case <-time.After(settling):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// occupants are the workers of the hive that are ours: those that nobody uses, the
// longest unused first, and those in use. Whose memory is about to change counts as
// in use, whoever has it: one that ends, or was started a moment ago and is not known
// here yet.
func (p *pool) occupants(l *link, list []api.Worker) (idle, busy []api.Worker) {
	for _, v := range list {
		known, ok := p.known.Find(v.ID)
		ours, early := ok && known.Hive == l.id, ok && known.Hive == ""
		switch v.State {
		case api.Idle, api.Busy:
			if ours && v.State == api.Idle {
				idle = append(idle, v)
			} else if ours || early {
				busy = append(busy, v)
			}
		case api.Loading, api.Stopping:
			busy = append(busy, v)
		}
	}
	slices.SortFunc(idle, func(a, b api.Worker) int { return a.LastActivity.Compare(b.LastActivity) })
	return idle, busy
}

// sum is the memory that workers have.
func sum(list []api.Worker) (n int64) {
	for _, v := range list {
		n += max(v.MemoryBytes, v.NeedsBytes)
	}
	return n
}

// never tells that a model needs more than the workers of its machine may have in all.
// What they have may be more, too: a worker can take more than it was thought to need.
func never(refused error) bool {
	most := number(refused, "memory_max_bytes")
	return most > 0 && number(refused, "required_bytes") > most
}

// lacking is how many bytes were missing, by the facts of a refusal.
func lacking(refused error) int64 {
	return number(refused, "required_bytes") - number(refused, "available_bytes")
}

// number is a fact of a fault; 0: it does not say.
func number(err error, name string) (n int64) {
	for _, f := range core.FaultOf(err).Facts {
		if f.Name == name {
			n, _ = strconv.ParseInt(f.Value, 10, 64)
		}
	}
	return n
}
