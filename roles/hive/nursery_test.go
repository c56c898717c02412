package hive

import (
	"errors"
	"testing"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/lease"
)

func noStart() error { return nil }

func roomy(load) error { return nil }

// No worker begins under a lease that has ended, however long its model was looked for.
func TestNoSpawnUnderAnEndedLease(t *testing.T) {
	var n nursery
	if err := n.hold("l", lease.Boot{Token: "secret"}); err != nil {
		t.Fatal(err)
	}
	if err := n.hold("l", lease.Boot{}); !errors.Is(err, core.Invalid) {
		t.Errorf("a lease held twice: %v", err)
	}
	if err := n.spawn(&worker{id: "a", leaseID: "l", state: api.Idle}, roomy, noStart); err != nil {
		t.Fatal(err)
	}
	if got := n.byToken("secret"); got != "l" {
		t.Errorf("byToken: %q", got)
	}
	if hers := n.endLease("l"); len(hers) != 1 || hers[0].id != "a" {
		t.Errorf("workers of the lease: %v", hers)
	}
	started := false
	err := n.spawn(&worker{id: "b", leaseID: "l"}, roomy, func() error { started = true; return nil })
	if !errors.Is(err, core.Invalid) || started {
		t.Errorf("a spawn under an ended lease: %v, started %v", err, started)
	}
	n.close()
	if err := n.spawn(&worker{id: "c"}, roomy, noStart); !errors.Is(err, core.ShuttingDown) {
		t.Errorf("a spawn on a hive that ends: %v", err)
	}
}

// Memory that a loading worker will take is promised to nobody else.
func TestPromises(t *testing.T) {
	var n nursery
	if err := n.spawn(&worker{id: "a", needs: 1 << 40, state: api.Loading, child: &lease.Child{}}, roomy, noStart); err != nil {
		t.Fatal(err)
	}
	full := func(others load) error { return room(1, others, 0) }
	if err := n.spawn(&worker{id: "b"}, full, noStart); !errors.Is(err, core.InsufficientMemory) {
		t.Errorf("a spawn into memory that is promised: %v", err)
	}
	a, err := n.worker("a")
	if err != nil {
		t.Fatal(err)
	}
	a.become(api.Idle, "")
	if err := n.spawn(&worker{id: "b"}, full, noStart); err != nil {
		t.Errorf("a spawn when the load is over: %v", err)
	}
}

// What rbee may take at most counts all its workers, loaded or not.
func TestMemoryMax(t *testing.T) {
	others := load{taken: 3 << 30}
	if err := room(1<<30, others, 4<<30); err != nil {
		t.Errorf("just enough: %v", err)
	}
	if err := room(1<<30+1, others, 4<<30); !errors.Is(err, core.InsufficientMemory) {
		t.Errorf("a byte too much: %v", err)
	}
}
