package queen

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"sync"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/client"
	"rbee/core/lease"
)

// A link is one hive as long as it lives: where it is and how it is held. Nothing
// in it changes. When the hive is gone so is the link, and the node gets another.
type link struct {
	id    string // of no other link
	node  core.NodeName
	hive  *client.Client
	info  api.Health
	pid   int    // of our child; 0: the hive is none
	lease string // under which workers are spawned; empty: the hive itself lives by us

	gone   <-chan struct{} // closed when the hive is
	silent func() bool     // tells whether that is for want of a sign of life from its node; nil: no network lies between

	end   func(context.Context, *api.Ended) // ends it in order and says what that took
	after func(context.Context, *api.Ended) // notes the machine's memory when the hive is gone; nil: nobody can
	bulk  *bulk                             // a second connection, for copies; nil: the hive is on this machine
	held  *holds

	joined    <-chan struct{} // of a hive that ran before: closed when it has said what it has
	hasJoined func()
}

type dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// alive tells whether the hive is there, as far as is known.
func (l *link) alive() bool {
	select {
	case <-l.gone:
		return false
	default:
		return true
	}
}

// worker returns a client for a worker of the hive, by the port in its URL. Its
// connections are the link's, and are used again.
func (l *link) worker(at, token string) (*client.Client, error) {
	port, err := portOf(at)
	if err != nil {
		return nil, err
	}
	return l.hive.At("http://127.0.0.1:"+port, token), nil
}

// portOf returns the port of a worker's URL.
func portOf(at string) (string, error) {
	u, err := url.Parse(at)
	if err != nil || u.Scheme != "http" || u.Hostname() == "" || u.Port() == "" {
		return "", &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("url %.80q: want http://HOST:PORT", at)}
	}
	return u.Port(), nil
}

// holds are what keeps a link: each is let go of by a function.
type holds struct {
	once sync.Once
	run  sync.WaitGroup // of the link's own goroutines
	let  []func()
	use  sync.RWMutex // read-locked by who asks the node its last questions
}

// add adds what drop will call, the last one first.
func (h *holds) add(let func()) { h.let = append(h.let, let) }

// drop lets go of everything at once: what lives by the link sees its end. It
// returns when nothing of the link runs here any more.
func (h *holds) drop() {
	h.once.Do(func() {
		for _, let := range slices.Backward(h.let) {
			let()
		}
	})
	h.run.Wait()
}

// dropUnused is drop after the last questions have their answers.
func (h *holds) dropUnused() {
	h.use.Lock()
	defer h.use.Unlock()
	h.drop()
}

// boot is what a hive must know.
func (f *fleet) boot(name core.NodeName, queenURL string) lease.Boot {
	hub := f.q.d.Settings.Hub
	return lease.Boot{
		Token: f.q.token, QueenURL: queenURL, Node: string(name), Instance: f.q.d.Instance, Mode: f.q.d.Mode,
		HubEndpoint: hub.Endpoint, HubToken: hub.Token,
	}
}

// here is the queen's URL on this machine.
func (f *fleet) here() string { return fmt.Sprintf("http://127.0.0.1:%d", f.q.port) }
