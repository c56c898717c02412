package queen

import (
	"context"
	"time"

	"rbee/core"
	"rbee/core/client"
)

// A bulk is the second connection to a node over SSH: what is copied must not stand
// before tokens and beats. It is made when somebody copies, and all who do share it.
type bulk struct {
	dig  func(context.Context) (*tunnel, *client.Client, error)
	life context.Context //nolint:containedctx // of the link
	end  context.CancelFunc

	turn chan struct{} // of one place: who is in it has all below
	t    *tunnel       // nil: there is none
	hive *client.Client
	uses int
	idle *time.Timer // drops the connection
}

func newBulk(base context.Context, dig func(context.Context) (*tunnel, *client.Client, error)) *bulk {
	b := &bulk{dig: dig, turn: make(chan struct{}, 1)}
	b.life, b.end = context.WithCancel(base)
	return b
}

// bulkIdle is how long a connection stays that nobody copies over.
const bulkIdle = 30 * time.Second

// use returns the node's hive over the second connection, the queen's URL as the node
// sees it there, and what lets go of it.
func (b *bulk) use(ctx context.Context) (hive *client.Client, back string, release func(), err error) {
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-ctx.Done():
		return nil, "", nil, context.Cause(ctx)
	}
	if b.life.Err() != nil {
		return nil, "", nil, errEnding
	}
	if b.t != nil && b.t.lost() {
		if b.uses > 0 { // who uses it is about to see that, too
			return nil, "", nil, &core.Fault{Kind: core.NodeUnreachable, What: "the connection for copies was lost"}
		}
		b.drop()
	}
	if b.t == nil {
		if err := b.open(ctx); err != nil {
			return nil, "", nil, err
		}
	}
	if b.idle != nil {
		b.idle.Stop()
	}
	b.uses++
	return b.hive, b.t.back, b.release, nil
}

// open makes the connection.
func (b *bulk) open(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(b.life, func() { cancel(errEnding) })() //nolint:contextcheck // either ends it
	t, hive, err := b.dig(ctx)
	if err == nil {
		b.t, b.hive = t, hive
	}
	return err
}

func (b *bulk) release() {
	b.turn <- struct{}{}
	defer func() { <-b.turn }()
	if b.uses--; b.uses == 0 && b.life.Err() == nil {
		b.idle = time.AfterFunc(bulkIdle, b.dropIdle)
	}
}

// dropIdle drops a connection that is not in use.
func (b *bulk) dropIdle() {
	b.turn <- struct{}{}
	defer func() { <-b.turn }()
	if b.uses == 0 {
		b.drop()
	}
}

// close drops the connection for good.
func (b *bulk) close() {
	b.end()
	b.turn <- struct{}{}
	defer func() { <-b.turn }()
	b.drop()
}

func (b *bulk) drop() {
	if b.t != nil {
		b.t.held.drop()
		b.t, b.hive = nil, nil
	}
	if b.idle != nil {
		b.idle.Stop()
	}
}
