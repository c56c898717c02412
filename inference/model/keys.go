package model

import (
	"fmt"
	"math"

	"rbee/inference/gguf"
)

// Limits of what a configuration may say: far beyond any model, and small
// enough that no product of them overflows.
const (
	maxLayers  = 1 << 12
	maxWidth   = 1 << 20
	maxHeads   = 1 << 12
	maxContext = 1 << 24
	maxVocab   = 1 << 24
	maxExperts = 1 << 12
)

// A keys reads metadata under the architecture's prefix and keeps the first error.
type keys struct {
	f      *gguf.File
	prefix string
	err    error
}

func (k *keys) fail(name, format string, args ...any) {
	if k.err == nil {
		k.err = fmt.Errorf("model: %s: "+format, append([]any{k.prefix + name}, args...)...)
	}
}

// size reads a number from 1 to most, or an array that holds one such number in
// every place. A default of 0 makes the key required.
func (k *keys) size(name string, most, fallback int) int {
	key := k.prefix + name
	if !k.f.Has(key) {
		if fallback == 0 {
			k.fail(name, "is missing: %w", gguf.ErrFormat)
		}
		return fallback
	}
	n, ok := k.f.Uint(key)
	if list, is := k.f.Ints(key); is && len(list) > 0 {
		n, ok = uint64(max(list[0], 0)), true
		for _, other := range list {
			if other != list[0] {
				k.fail(name, "differs from layer to layer, which is %w", ErrUnsupported)
				return max(fallback, 1)
			}
		}
	}
	if !ok || n < 1 || n > uint64(most) {
		k.fail(name, "is out of range, want 1 to %d: %w", most, gguf.ErrFormat)
		return max(fallback, 1)
	}
	return int(n)
}

// number reads a positive, finite number. A default of 0 stands for none.
func (k *keys) number(name string, fallback float64) float64 {
	if !k.f.Has(k.prefix + name) {
		return fallback
	}
	x, ok := k.f.Float(k.prefix + name)
	if !ok || !(x > 0) || math.IsInf(x, 0) {
		k.fail(name, "is no positive number: %w", gguf.ErrFormat)
		return fallback
	}
	return x
}

// A Pooling makes one vector of a text's many.
type Pooling string

// The poolings.
const (
	PoolNone Pooling = ""
	PoolMean Pooling = "mean"
	PoolCLS  Pooling = "cls"  // the first token's
	PoolLast Pooling = "last" // the last token's
)

// pooling reads what the model was trained with (llama.h, enum llama_pooling_type).
func (k *keys) pooling() Pooling {
	n, ok := k.f.Uint(k.prefix + "pooling_type")
	if !ok {
		return PoolNone
	}
	switch n {
	case 0:
		return PoolNone
	case 1:
		return PoolMean
	case 2:
		return PoolCLS
	case 3:
		return PoolLast
	}
	k.fail("pooling_type", "%d is %w, only: mean (1), cls (2), last (3)", n, ErrUnsupported)
	return PoolNone
}
