package api

import (
	"time"

	"rbee/core"
)

// SpawnRequest is the body of POST hive/v1/workers/spawn. The hive provisions
// the model itself. Zero values are chosen by the hive.
type SpawnRequest struct {
	ModelRef      core.ModelRef `json:"model_ref"`
	WorkerID      core.WorkerID `json:"worker_id,omitempty"`
	Backend       core.Backend  `json:"backend,omitempty"`
	Device        int           `json:"device,omitempty"`
	ContextLength int           `json:"context_length,omitempty"` // tokens per sequence
	Slots         int           `json:"slots,omitempty"`
	Threads       int           `json:"threads,omitempty"`
	QueenURL      string        `json:"queen_url,omitempty"`
	LeaseID       string        `json:"lease_id,omitempty"` // whose end ends the worker
}

// Spawned is the answer to a spawn: 202, the worker is loading.
type Spawned struct {
	WorkerID core.WorkerID `json:"worker_id"`
	URL      string        `json:"url"`
	State    WorkerState   `json:"state"`
}

// WorkerState is what a worker is doing.
type WorkerState string

// The states of a worker. Busy: at least one slot is taken.
const (
	Loading  WorkerState = "loading"
	Idle     WorkerState = "idle"
	Busy     WorkerState = "busy"
	Stopping WorkerState = "stopping"
	Failed   WorkerState = "failed"
)

// Worker is one worker in a list. Node is filled in by the queen, Error says
// why a failed worker failed.
type Worker struct {
	ID             core.WorkerID `json:"id"`
	Node           core.NodeName `json:"node,omitempty"`
	URL            string        `json:"url"`
	ModelRef       core.ModelRef `json:"model_ref"`
	Backend        core.Backend  `json:"backend"`
	Device         int           `json:"device"`
	State          WorkerState   `json:"state"`
	SlotsTotal     int           `json:"slots_total"`
	SlotsAvailable int           `json:"slots_available"`
	PID            int           `json:"pid"`
	MemoryBytes    int64         `json:"memory_bytes"`
	NeedsBytes     int64         `json:"needs_bytes,omitempty"` // as the model's header says; 0: not known
	LastActivity   time.Time     `json:"last_activity"`
	StartedAt      time.Time     `json:"started_at"`
	ContextLength  int           `json:"context_length,omitempty"` // as it was asked for; 0: the model's own
	Threads        int           `json:"threads,omitempty"`        // as it was asked for; 0: all cores
	Error          string        `json:"error,omitempty"`
}

// Workers is a list of workers.
type Workers struct {
	Workers []Worker `json:"workers"`
}

// Capabilities is the answer to GET hive/v1/capabilities.
type Capabilities struct {
	Hostname      string        `json:"hostname"`
	Version       string        `json:"version"`
	Devices       []core.Device `json:"devices"`
	DiskFreeBytes int64         `json:"disk_free_bytes"`
}

// Model is one model of a catalog.
type Model struct {
	Ref          core.ModelRef `json:"model_ref"`
	Path         string        `json:"path,omitempty"`
	SizeBytes    int64         `json:"size_bytes"`
	SHA256       string        `json:"sha256,omitempty"` // empty while it is being computed
	Architecture string        `json:"architecture,omitempty"`
	Quantization string        `json:"quantization,omitempty"`
	Parameters   int64         `json:"parameters,omitempty"`
	Node         core.NodeName `json:"node,omitempty"` // filled in by the queen

	Source   string      `json:"source,omitempty"`   // where its files came from: "import", "copy", "hub" …
	Revision string      `json:"revision,omitempty"` // commit of the hub's repository
	Files    []ModelFile `json:"files,omitempty"`
	Pinned   bool        `json:"pinned,omitempty"` // never removed to make room
	InUse    bool        `json:"in_use,omitempty"` // a worker has it
	Uses     int64       `json:"uses,omitempty"`   // how often a worker has loaded it
	UsedAt   time.Time   `json:"used_at,omitzero"`
	AddedAt  time.Time   `json:"added_at,omitzero"`
}

// Models is a list of models.
type Models struct {
	Models []Model `json:"models"`
}

// ImportRequest is the body of POST /v1/models/import on a hive and of
// POST /v2/models/import on a queen: a file of that machine, used in place.
type ImportRequest struct {
	Path string `json:"path"`           // absolute
	From string `json:"from,omitempty"` // the program that keeps it, of a model that was found: it then has that one's name on the hub, if that is certain
	Keep bool   `json:"keep,omitempty"` // of a queen: also in the catalog of her machine's hive, which is started if it has to be
}

// Found are models that other programs keep on a machine: the answer to
// GET hive/v1/models/found?from= and GET queen/v2/models/found?from=.
type Found struct {
	Models []FoundModel `json:"models"`
}

// FoundModel is one of them. It is used by an import of its path.
type FoundModel struct {
	From      string        `json:"from"` // "huggingface", "ollama" or "lmstudio"
	Name      string        `json:"name"` // as that program calls it
	Ref       core.ModelRef `json:"model_ref"`
	Path      string        `json:"path"` // of a model in parts the first
	SizeBytes int64         `json:"size_bytes"`
	Error     string        `json:"error,omitempty"` // why it cannot be used
}

// Needs is the answer to GET hive/v1/models/{ref}/needs?context=&slots=.
type Needs struct {
	WeightsBytes int64 `json:"weights_bytes"`
	KVBytes      int64 `json:"kv_bytes"`
	ComputeBytes int64 `json:"compute_bytes"`
	TotalBytes   int64 `json:"total_bytes"`
}

// Up is the one line that a hive started over SSH writes on its stdout once it
// listens: nobody could hand it a listener, so it says its port.
type Up struct {
	Port     int    `json:"port"`
	PID      int    `json:"pid"`
	Started  uint64 `json:"started"` // kernel start time of the pid, for `hive stop`
	Version  string `json:"version"`
	Instance string `json:"instance"`
}
