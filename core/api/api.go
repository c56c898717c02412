// Package api is the wire: what the roles say to each other and to the world
// over HTTP, as JSON structs, event streams and one error envelope.
//
// Everything is UTF-8 and snake_case; sizes are in bytes, durations in
// milliseconds with the unit in the name, times in RFC 3339. Unknown fields are
// ignored when reading.
package api

import (
	"rbee/core"
)

// Headers of our own.
const (
	HeaderCorrelation = "X-Correlation-ID"
	HeaderNode        = "X-Rbee-Node"    // which node a callback comes from
	HeaderRetry       = "X-Should-Retry" // "false" on whatever is not retriable
	HeaderDeadline    = "X-Deadline"     // unix milliseconds
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
