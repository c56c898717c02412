package lease

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"rbee/core"
)

// A Boot is what a child must know before it can serve. It travels in the
// lease's first line and nowhere else: a token on a command line or in an
// environment can be read by others.
type Boot struct {
	Token    string `json:"token,omitempty"`
	QueenURL string `json:"queen_url,omitempty"`
	Node     string `json:"node,omitempty"`
	Instance string `json:"instance,omitempty"` // of the holder, and the value of Mark

	// Mode is how the holder lives. One that is persistent may come back: it has
	// Terms.EOFGrace to do so.
	Mode core.Mode `json:"mode,omitempty"`

	// Where models come from, and who the holder is there: on a machine whose own
	// environment says nothing of it.
	HubEndpoint string `json:"hub_endpoint,omitempty"`
	HubToken    string `json:"hub_token,omitempty"`
}

// A line is one line of a lease. Fields that this version does not know are ignored.
type line struct {
	Boot    *Boot `json:"boot,omitempty"`
	Beat    int64 `json:"beat,omitempty"`
	Release bool  `json:"release,omitempty"`
}

// A Holder is the side of a lease that the other side lives by. Its methods may
// be called at once. When its process ends, in whatever way, the lease does too.
type Holder struct {
	mu sync.Mutex // guards w: lines are written whole, one after the other
	w  io.WriteCloser
}

// Hold begins a lease on w by writing its boot line.
func Hold(w io.WriteCloser, boot Boot) (*Holder, error) {
	h := &Holder{w: w}
	return h, h.write(line{Boot: &boot})
}

// Beat writes a beat at once and then every period, until ctx is done or the
// other side is gone. Leases over a network need it, those over a pipe do not.
func (h *Holder) Beat(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := int64(1); ; n++ {
		if err := h.write(line{Beat: n}); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Release lets the other side live on when this one ends.
func (h *Holder) Release() error { return h.write(line{Release: true}) }

// Close ends the lease. Closing twice is fine.
func (h *Holder) Close() error { return h.w.Close() }

func (h *Holder) write(l line) error {
	b, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, err := h.w.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("lease: write: %w", err)
	}
	return nil
}

// errGarbled says that something else than a lease stands in the carrier.
var errGarbled = errors.New("lease: not a line of a lease")
