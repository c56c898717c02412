package hive

import (
	"errors"
	"testing"

	"rbee/core"
	"rbee/core/api"
	"rbee/core/lease"
)

func noStart() error { return nil }

func roomy(int64) error { return nil }

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
	full := func(promised int64) error { return room(1, promised) }
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
