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
	Instance string    `json:"instance"` // of this process, random
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
	ID       string        `json:"hive_id"`
	Node     core.NodeName `json:"node"`
	URL      string        `json:"url"`
	Version  string        `json:"version"`
	State    string        `json:"state"` // "up" or "gone"
	Borrowed bool          `json:"borrowed"`
	Devices  []core.Device `json:"devices,omitempty"`
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

// Ended is what an ephemeral queen writes on its stdout, one line for each hive
// that it has ended and a last one that says so, for the keeper's proof.
type Ended struct {
	Node    core.NodeName `json:"node"`
	Hive    string        `json:"hive"`    // what it took: "was asked", "SIGTERM", "SIGKILL"; "lives on" for a borrowed one
	Workers int           `json:"workers"` // that were running and are gone
	Left    int           `json:"left"`    // that could not be ended or not be seen to end
	Error   string        `json:"error,omitempty"`
	All     bool          `json:"all,omitempty"` // the last line: there is no other hive
}
