package inference

import (
	"testing"

	"rbee/inference/gguf"
)

func TestShares(t *testing.T) {
	large, small := gguf.Work{ReadBytes: 1 << 30, Multiplied: 900, Head: 100, Blocks: 1000}, gguf.Work{ReadBytes: 1 << 20, Multiplied: 900, Head: 100}
	mixed := large
	mixed.Blocks = 499
	tests := map[string]struct {
		r           BenchResult
		limit       float64
		read, share float64
	}{
		"half":                 {BenchResult{GBps: 10, GOPS: 10, work: large}, 20, 0.5, 0.5},
		"no limit known":       {BenchResult{GBps: 10, GOPS: 10, work: large}, 0, 0, 0},
		"in the caches":        {BenchResult{GBps: 10, work: small}, 20, 0, 0},
		"faster than memory":   {BenchResult{GBps: 27, work: large}, 20, 0, 0},
		"a little faster":      {BenchResult{GBps: 25, work: large}, 20, 1.25, 0},
		"mostly floats":        {BenchResult{GOPS: 10, work: mixed}, 20, 0, 0},
		"a prompt reads once":  {BenchResult{GOPS: 10, work: large}, 20, 0, 0.5},
		"a generation is none": {BenchResult{GBps: 10, work: large}, 20, 0.5, 0},
	}
	for name, tt := range tests {
		if read, share := tt.r.ReadShare(tt.limit), tt.r.Int8Share(tt.limit); read != tt.read || share != tt.share {
			t.Errorf("%s: got %g of reading and %g of multiplying, want %g and %g", name, read, share, tt.read, tt.share)
		}
	}
}
