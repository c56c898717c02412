// Package place decides where an answer is made. The decision is a function of
// values: what is asked for and what is known.
package place

import (
	"cmp"
	"slices"

	"rbee/core"
)

// A Request is what is asked for.
type Request struct {
	Model core.ModelRef
	Node  core.NodeName // empty: anywhere
}

// A Candidate is a node as it is known.
type Candidate struct {
	Node      core.NodeName
	Loaded    bool  // a worker there has the model
	FreeSlots int   // of such workers
	OnDisk    bool  // the model's file is there
	FreeBytes int64 // of memory
	TooSmall  bool  // the model does not fit, whatever is ended for it
	Suspect   bool  // it has been silent for a while
}

// Choose returns the node: the one asked for, else the best by Compare. Without
// candidates it is the queen's own machine.
func Choose(r Request, known []Candidate) core.NodeName {
	if r.Node != "" {
		return r.Node
	}
	if len(known) == 0 {
		return core.Localhost
	}
	return slices.MinFunc(known, Compare).Node
}

// Compare puts the better candidate first: where the model is loaded with a free
// slot, then where it is loaded, on disk, or where most memory is free. Nodes that
// are silent, and then those where it does not fit, come last.
func Compare(a, b Candidate) int {
	return cmp.Or(
		first(!a.TooSmall, !b.TooSmall),
		first(!a.Suspect, !b.Suspect),
		first(a.Loaded && a.FreeSlots > 0, b.Loaded && b.FreeSlots > 0),
		first(a.Loaded, b.Loaded),
		first(a.OnDisk, b.OnDisk),
		cmp.Compare(b.FreeBytes, a.FreeBytes),
		cmp.Compare(a.Node, b.Node),
	)
}

// first puts what is true before what is not.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}
