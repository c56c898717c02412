package core

// A Device is something that computes. Memory of the CPU device is the
// machine's, within the limits of its control group.
type Device struct {
	Backend          Backend `json:"backend"`
	Index            int     `json:"device"`
	Name             string  `json:"name"`
	MemoryTotalBytes int64   `json:"memory_total_bytes"`
	MemoryFreeBytes  int64   `json:"memory_free_bytes"`
}
