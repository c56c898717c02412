package registry

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"rbee/core"
)

// A Hive is one hive as it has last reported itself.
type Hive struct {
	ID            string
	Node          core.NodeName
	Version       string
	Devices       []core.Device
	DiskFreeBytes int64
	Models        map[core.ModelRef]Model
	Seen          time.Time // when it last said anything
}

// A Model is one model of a hive, as far as others must know it.
type Model struct {
	Size     int64  // in bytes, of all files
	SHA256   string // empty: not known yet
	Revision string // commit of the hub's repository
	Files    []File
}

// A File is one file of a model.
type File struct {
	Name   string
	Size   int64
	SHA256 string // empty: not known yet
}

// Whole tells whether each file's hash is known: only then can it be copied.
func (m Model) Whole() bool {
	return len(m.Files) > 0 && !slices.ContainsFunc(m.Files, func(f File) bool { return f.SHA256 == "" })
}

// Has tells whether a file of the model has the hash.
func (m Model) Has(sha256 string) bool {
	return slices.ContainsFunc(m.Files, func(f File) bool { return f.SHA256 == sha256 })
}

// Health is what is to be thought of a hive by its silence.
type Health string

// The healths of a hive.
const (
	Up      Health = "up"
	Suspect Health = "suspect" // silent for a while: nothing new is given to it while others are up
	Gone    Health = "gone"    // silent for so long that it is given up
)

// Silence says how long a hive may say nothing.
type Silence struct{ Suspect, Gone time.Duration }

// Of returns a hive's health at a time.
func (s Silence) Of(h Hive, now time.Time) Health {
	switch quiet := now.Sub(h.Seen); {
	case quiet >= s.Gone:
		return Gone
	case quiet >= s.Suspect:
		return Suspect
	}
	return Up
}

// Hives are the hives that have joined. Safe for use by many at once; the zero
// value is empty.
type Hives struct {
	mu    sync.Mutex // guards all
	by    map[string]Hive
	nodes map[core.NodeName][]string // the ids of a node's hives
}

// Join takes a hive in, or in again.
func (r *Hives) Join(h Hive) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.by == nil {
		r.by, r.nodes = map[string]Hive{}, map[core.NodeName][]string{}
	}
	r.leave(h.ID)
	r.by[h.ID] = h
	r.nodes[h.Node] = append(r.nodes[h.Node], h.ID)
}

// Update changes what is known of a hive that has joined, and fails as Find does.
func (r *Hives) Update(id string, change func(*Hive)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	h, err := r.find(id)
	if err != nil {
		return err
	}
	change(&h)
	r.by[id] = h // its id and node stay
	return nil
}

// Leave forgets a hive.
func (r *Hives) Leave(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leave(id)
}

// LeaveNode forgets the hives of a node.
func (r *Hives) LeaveNode(node core.NodeName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range slices.Clone(r.nodes[node]) {
		r.leave(id)
	}
}

func (r *Hives) leave(id string) {
	h, ok := r.by[id]
	if !ok {
		return
	}
	delete(r.by, id)
	r.nodes[h.Node] = slices.DeleteFunc(r.nodes[h.Node], func(other string) bool { return other == id })
	if len(r.nodes[h.Node]) == 0 {
		delete(r.nodes, h.Node)
	}
}

// Find returns a hive that has joined; one that has not is told so by
// core.NodeNotFound, and joins again: this queen may be another than before.
func (r *Hives) Find(id string) (Hive, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.find(id)
}

func (r *Hives) find(id string) (Hive, error) {
	h, ok := r.by[id]
	if !ok {
		return h, &core.Fault{Kind: core.NodeNotFound, What: fmt.Sprintf("hive %.80s has not joined", id), Try: "POST /v2/hives/join"}
	}
	return h, nil
}

// OfNode returns the hive of a node: the one that was heard last, when there are two.
func (r *Hives) OfNode(node core.NodeName) (last Hive, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range r.nodes[node] {
		if h := r.by[id]; !ok || h.Seen.After(last.Seen) {
			last, ok = h, true
		}
	}
	return last, ok
}
