package api

import "rbee/core"

// Ready is the answer to GET worker/v1/ready.
type Ready struct {
	Ready       bool        `json:"ready"`
	State       WorkerState `json:"state"`
	ProgressURL string      `json:"progress_url,omitempty"` // while loading
	SlotsTotal  int         `json:"slots_total,omitempty"`
	SlotsBusy   int         `json:"slots_busy"`
	IdleMS      int64       `json:"idle_ms"`         // since the last answer ended; 0 while one is under way
	Error       string      `json:"error,omitempty"` // why a failed load failed
}

// LoadStage is one event of GET worker/v1/loading/progress. Stage is "loading",
// "ready" or "failed"; the stream ends with [DONE].
type LoadStage struct {
	Stage        string `json:"stage"`
	LayersLoaded int    `json:"layers_loaded"`
	LayersTotal  int    `json:"layers_total"`
	MemoryBytes  int64  `json:"memory_bytes"`

	Code  core.Kind `json:"code,omitempty"` // of a failed load
	Error string    `json:"error,omitempty"`
	Try   string    `json:"try,omitempty"`
}

// ExecuteRequest is the body of POST worker/execute: a task, or the tokens of a
// prompt that are already known.
type ExecuteRequest struct {
	TaskRequest

	JobID        core.TaskID   `json:"job_id"`
	WorkerID     core.WorkerID `json:"worker_id,omitempty"`     // whom the caller means; another one refuses
	Tokens       []int32       `json:"tokens,omitempty"`        // instead of prompt or messages
	ResumeTokens []int32       `json:"resume_tokens,omitempty"` // of an answer that goes on here
}
