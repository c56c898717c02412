package core

import (
	"fmt"
	"regexp"
)

// The names of things. Each is a string of its own type, so that one is never
// passed where another is meant.
type (
	// NodeName is a machine: "localhost" or what ~/.ssh/config calls it.
	NodeName string
	// WorkerID is one worker process, unique in its pool.
	WorkerID string
	// TaskID is one request for an answer; on the worker's wire it is job_id.
	TaskID string
	// ModelRef names a model: "embedded", "file:/abs/path.gguf", "hf:org/repo:Q4_K_M".
	ModelRef string
	// Backend is what computes: "cpu" or "cuda".
	Backend string
)

// Localhost is the queen's own machine.
const Localhost NodeName = "localhost"

// Embedded is the model inside the executable.
const Embedded ModelRef = "embedded"

// The backends.
const (
	CPU  Backend = "cpu"
	CUDA Backend = "cuda"
)

// Mode is how a daemon lives.
type Mode string

// The modes: for one command, or until somebody ends it.
const (
	Ephemeral  Mode = "ephemeral"
	Persistent Mode = "persistent"
)

var identifier = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// CheckID returns an error that names field unless id is 1 to 64 letters,
// digits, underscores and dashes.
func CheckID(field, id string) error {
	if identifier.MatchString(id) {
		return nil
	}
	return fmt.Errorf("%s %q: want 1 to 64 of A-Z a-z 0-9 _ -: %w", field, id, Invalid)
}
