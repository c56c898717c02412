package queen

import (
	"context"
	"sync"
	"time"
)

// turns let one caller at a time have each key. The zero value is ready for use.
type turns[K comparable] struct {
	mu sync.Mutex // guards by
	by map[K]*turn
}

type turn struct {
	token chan struct{} // who has it has the turn
	users int           // those who have it or wait for it
}

// take waits for the turn of a key; the returned function gives it back.
func (t *turns[K]) take(ctx context.Context, key K) (func(), error) {
	return t.takeTelling(ctx, key, time.Hour, func() {})
}

// takeTelling is take for a turn that may be long: tell is called every so often.
func (t *turns[K]) takeTelling(ctx context.Context, key K, every time.Duration, tell func()) (func(), error) {
	mine := t.join(key)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case mine.token <- struct{}{}:
			return func() { <-mine.token; t.leave(key, mine) }, nil
		case <-tick.C:
			tell()
		case <-ctx.Done():
			t.leave(key, mine)
			return nil, context.Cause(ctx)
		}
	}
}

func (t *turns[K]) join(key K) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by == nil {
		t.by = map[K]*turn{}
	}
	if t.by[key] == nil {
		t.by[key] = &turn{token: make(chan struct{}, 1)}
	}
	t.by[key].users++
	return t.by[key]
}

func (t *turns[K]) leave(key K, mine *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if mine.users--; mine.users == 0 {
		delete(t.by, key)
	}
}
