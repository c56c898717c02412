package api

import "rbee/core"

// ShutdownRequest is the body of POST /v1/shutdown, which may be empty. The fields
// are for workers.
type ShutdownRequest struct {
	IfIdleMS int64 `json:"if_idle_ms,omitempty"` // only when nobody has used it for so long; else 409 WORKER_BUSY
	DrainMS  int64 `json:"drain_ms,omitempty"`   // running answers get so long to end
}

// MIMELines is JSON, one value a line.
const MIMELines = "application/x-ndjson"

// Bounds of a spawn: what lies above them can only be a mistake.
const (
	maxContext = 16 << 20
	maxSlots   = 64
	maxThreads = 1024
)

// Validate returns a fault that lists every field that breaks a rule, or nil.
func (r *SpawnRequest) Validate() error {
	var v checks
	v.oneOf("backend", string(r.Backend), "", string(core.CPU), string(core.CUDA))
	for _, f := range []struct {
		name    string
		n, most int
	}{
		{"context_length", r.ContextLength, maxContext},
		{"slots", r.Slots, maxSlots},
		{"threads", r.Threads, maxThreads},
		{"device", r.Device, maxThreads},
	} {
		n := float64(f.n)
		v.within(f.name, &n, 0, float64(f.most))
	}
	if r.WorkerID != "" && core.CheckID("worker_id", string(r.WorkerID)) != nil {
		v.add("worker_id", "format", "want 1 to 64 of A-Z a-z 0-9 _ -")
	}
	return v.fault()
}
