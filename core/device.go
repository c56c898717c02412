package core

// A Device is something that computes. Memory of the CPU device is the
// machine's, within the limits of its control group.
type Device struct {
	Backend          Backend `json:"backend"`
	Index            int     `json:"device"`
	Name             string  `json:"name"`
	UUID             string  `json:"uuid,omitempty"` // of a GPU: the same for every program, whatever it calls number 0
	MemoryTotalBytes int64   `json:"memory_total_bytes"`
	MemoryFreeBytes  int64   `json:"memory_free_bytes"`
}
