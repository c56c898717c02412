//go:build !linux

package cpu

import "runtime"

// yieldCPU lets something else run where this thread spins.
func yieldCPU() { runtime.Gosched() }
