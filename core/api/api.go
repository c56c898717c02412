// Package api is the wire: what the roles say to each other and to the world
// over HTTP, as JSON structs, event streams and one error envelope.
//
// Everything is UTF-8 and snake_case; sizes are in bytes, durations in
// milliseconds with the unit in the name, times in RFC 3339. Unknown fields are
// ignored when reading.
package api

import (
	"time"

	"rbee/core"
)

// Headers of our own.
const (
	HeaderCorrelation = "X-Correlation-ID"
	HeaderNode        = "X-Rbee-Node"    // which node a callback comes from
	HeaderRetry       = "X-Should-Retry" // "false" on whatever is not retriable
	HeaderDeadline    = "X-Deadline"     // unix milliseconds
	HeaderParent      = "Traceparent"    // of the W3C's trace context
)

// MaxBody is how many bytes a request's body may have.
const MaxBody = 16 << 20

// Health is the answer to GET /health of every role.
type Health struct {
	Role     string    `json:"role"` // queen, hive, worker
	Mode     core.Mode `json:"mode"`
	Version  string    `json:"version"`
	Instance string    `json:"instance"`     // of the run, random; who is started for another has that one's
	ID       string    `json:"id,omitempty"` // of a hive: of this process, and of no other
}

// Message is the answer to a call that has nothing else to say.
type Message struct {
	Message string `json:"message"`
}

// WorkerReady is the callback of a worker to its hive (POST /v1/workers/ready)
// and of the hive to its queen (POST /v1/orchestrator/worker-ready): exactly
// these five fields. The node is in the header X-Rbee-Node. The URL's host is
// the node's name.
type WorkerReady struct {
	WorkerID core.WorkerID `json:"worker_id"`
	URL      string        `json:"url"`
	ModelRef core.ModelRef `json:"model_ref"`
	Backend  core.Backend  `json:"backend"`
	Device   int           `json:"device"`
}

// Hive is one hive in a queen's list.
type Hive struct {
	ID            string        `json:"hive_id"`
	Node          core.NodeName `json:"node"`
	URL           string        `json:"url"`
	Version       string        `json:"version"`
	State         string        `json:"state"` // "up", "suspect" or "gone"
	Borrowed      bool          `json:"borrowed"`
	Devices       []core.Device `json:"devices,omitempty"`
	DiskFreeBytes int64         `json:"disk_free_bytes,omitempty"`
	LastSeen      time.Time     `json:"last_seen,omitzero"` // its last report
	Error         string        `json:"error,omitempty"`    // why it is gone
}

// Report is what a hive says of itself: all of it in POST /v2/hives/join, and in
// each POST /v2/hives/{id}/heartbeat what has changed.
type Report struct {
	ID            string        `json:"hive_id"`
	Node          core.NodeName `json:"node"`
	URL           string        `json:"url,omitempty"`
	Version       string        `json:"version,omitempty"`
	Devices       []core.Device `json:"devices,omitempty"`
	DiskFreeBytes int64         `json:"disk_free_bytes,omitempty"`
	Workers       []Worker      `json:"workers"` // nil: as before
	Models        []Model       `json:"models"`  // nil: as before
}

// Joined is the answer to a report.
type Joined struct {
	ID          string `json:"hive_id"`
	HeartbeatMS int64  `json:"heartbeat_ms"`
}

// LoadRequest is the body of POST /v2/workers.
type LoadRequest struct {
	Model         core.ModelRef `json:"model"`
	Node          core.NodeName `json:"node,omitempty"`
	Backend       core.Backend  `json:"backend,omitempty"`
	Device        *int          `json:"device,omitempty"`
	ContextLength int           `json:"context_length,omitempty"`
	Threads       int           `json:"threads,omitempty"`
	Slots         int           `json:"slots,omitempty"`
}

// Candidate is one place for a model, in the order of preference.
type Candidate struct {
	Node          core.NodeName `json:"node"`
	Backend       core.Backend  `json:"backend"`
	Device        int           `json:"device"`
	State         string        `json:"state"` // of the hive
	Fits          *bool         `json:"fits"`  // null: not known before the model is there
	FreeBytes     int64         `json:"memory_free_bytes"`
	Evictable     int64         `json:"memory_idle_bytes"` // of workers that nobody uses, which make room
	RequiredBytes int64         `json:"required_bytes,omitempty"`
	Loaded        bool          `json:"loaded"`
	FreeSlots     int           `json:"slots_available"`
	OnDisk        bool          `json:"on_disk"`
	Chosen        bool          `json:"chosen"`
	Why           string        `json:"why,omitempty"` // it is not chosen
}

// Candidates is the answer to GET /v2/where.
type Candidates struct {
	Candidates []Candidate `json:"candidates"`
}

// Hives is a list of hives.
type Hives struct {
	Hives []Hive `json:"hives"`
}

// TaskState is one task in a list.
type TaskState struct {
	ID        core.TaskID   `json:"id"`
	Model     core.ModelRef `json:"model"`
	Node      core.NodeName `json:"node,omitempty"`
	WorkerID  core.WorkerID `json:"worker_id,omitempty"`
	State     string        `json:"state"` // "running", "done" or "failed"
	TokensOut int           `json:"tokens_out"`
	CreatedAt time.Time     `json:"created_at"`
}

// Tasks is a list of tasks.
type Tasks struct {
	Tasks []TaskState `json:"tasks"`
}

// TaskResult is the answer to a task with stream:false: the text and the fields
// of the end.
type TaskResult struct {
	Text string `json:"text"`
	End
}

// Gone is what was counted on a machine before an end and is not there after it.
type Gone struct {
	Processes int   `json:"processes,omitempty"`
	Ports     []int `json:"ports,omitempty"` // that were listened on
}

// DeviceMemory is the memory of a GPU that was free before and after an end, in bytes.
type DeviceMemory struct {
	Device int    `json:"device"`
	Name   string `json:"name"`
	Before int64  `json:"memory_free_before"`
	After  int64  `json:"memory_free_after"`
}

// Ended is what an ephemeral queen writes on its stdout, one line for each hive
// that it has ended and a last one that says so, for the keeper's proof.
type Ended struct {
	Node    core.NodeName  `json:"node"`
	Hive    string         `json:"hive"`                         // what it took: "was asked", "SIGTERM", "SIGKILL"; "lives on" for a borrowed one
	Workers int            `json:"workers"`                      // that were running and are gone
	Left    int            `json:"left"`                         // that could not be ended or not be seen to end
	Bytes   int64          `json:"memory_bytes,omitempty"`       // that those workers had
	Before  int64          `json:"memory_free_before,omitempty"` // of the machine, in bytes; 0: not known
	After   int64          `json:"memory_free_after,omitempty"`
	Devices []DeviceMemory `json:"devices,omitempty"` // of its GPUs
	Gone
	Error string `json:"error,omitempty"`
	All   bool   `json:"all,omitempty"` // the last line: there is no other hive
}
