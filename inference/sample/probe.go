package sample

import (
	"math"
	"slices"
)

// A Ranked is a token with its logit or log-probability.
type Ranked struct {
	ID    int32
	Value float64
}

// Top appends the n tokens with the highest logits to dst, the best first, of
// equal ones the lower id. It passes over the logits once.
func Top(dst []Ranked, logits []float32, n int) []Ranked {
	if n <= 0 {
		return dst
	}
	from := len(dst)
	worst := math.Inf(-1)
	for i, v := range logits {
		x := float64(v)
		full := len(dst)-from == n
		if x != x || full && x <= worst { // NaN
			continue
		}
		if full {
			dst = dst[:len(dst)-1]
		}
		at := len(dst)
		for at > from && dst[at-1].Value < x {
			at--
		}
		dst = slices.Insert(dst, at, Ranked{int32(i), x})
		worst = dst[len(dst)-1].Value
	}
	return dst
}

// Probe returns the log-probability of a token in the model's distribution, the
// softmax of the logits as they are, and appends the n likeliest tokens with
// theirs to top. Every value is at most 0; a token that cannot be has -Inf.
func Probe(top []Ranked, logits []float32, token int32, n int) (logprob float64, _ []Ranked) {
	best := highest(logits)
	if best < 0 {
		return math.Inf(-1), top
	}
	norm := logSum(logits, logits[best])
	from := len(top)
	top = Top(top, logits, n)
	for i := range top[from:] {
		top[from+i].Value = min(top[from+i].Value-norm, 0)
	}
	return min(float64(logits[token])-norm, 0), top
}

// logSum is ln Σ e^x, of which the greatest x is top.
func logSum(logits []float32, top float32) float64 {
	sum := 0.0
	for _, v := range logits {
		if x := v - top; x >= -negligible {
			sum += math.Exp(float64(x))
		}
	}
	return float64(top) + math.Log(sum)
}
