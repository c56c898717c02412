//go:build !purego

package cpu

// pause tells the processor that this is a spin loop.
func pause()
