package model

import (
	"math"

	"rbee/inference/device"
	"rbee/inference/gguf"
)

// Rope is the rotary embedding: at position p, pair i of a head turns by
// p·Base^(−2i/Dims), slowed down as the scaling says (Su et al. 2021).
type Rope struct {
	Dims      int // of a head that turn; even
	Base      float64
	Scale     float64 // positions are divided by it; 1: not
	Magnitude float64 // of cosine and sine

	yarn *yarn
	long bool // the file has factors for short and for long contexts
	orig int  // tokens of the context before it was made longer
}

// yarn slows down only the pairs that turn less than once in the original
// context (Peng et al. 2023).
type yarn struct{ low, high float64 } // between these pairs it fades

// rope reads the rotation of a model's heads.
func (k *keys) rope(headSize int) Rope {
	r := Rope{
		Dims: k.size("rope.dimension_count", headSize, headSize),
		Base: k.number("rope.freq_base", 10000), Scale: k.number("rope.scale_linear", 1), Magnitude: 1,
	}
	if r.Dims%2 != 0 {
		k.fail("rope.dimension_count", "%d is odd: %w", r.Dims, gguf.ErrFormat)
	}
	r.orig = k.size("rope.scaling.original_context_length", maxContext, k.size("context_length", maxContext, 0))
	_, r.long = k.f.Tensor("rope_factors_short.weight") // most such files name no type of scaling
	typ, _ := k.f.String(k.prefix + "rope.scaling.type")
	switch typ {
	case "none":
		r.Scale = 1
		return r
	case "", "linear":
		r.Scale = k.number("rope.scaling.factor", r.Scale)
	case "yarn":
		r.Scale = k.number("rope.scaling.factor", r.Scale)
		r.yarn = k.yarn(r)
		r.Magnitude = k.magnitude(r.Scale)
	case "longrope":
		r.Scale = k.number("rope.scaling.factor", 1)
	default:
		k.fail("rope.scaling.type", "%q is %w, only: none linear yarn longrope", typ, ErrUnsupported)
	}
	r.Magnitude *= k.number("rope.scaling.attn_factor", 1)
	return r
}

// yarn reads from which pair to which the scaling fades in.
func (k *keys) yarn(r Rope) *yarn {
	at := func(turns float64) float64 { // the pair that turns so often in the original context
		return float64(r.Dims) * math.Log(float64(r.orig)/(turns*2*math.Pi)) / (2 * math.Log(r.Base))
	}
	fast, slow := k.number("rope.scaling.yarn_beta_fast", 32), k.number("rope.scaling.yarn_beta_slow", 1)
	return &yarn{low: max(0, math.Floor(at(fast))), high: min(float64(r.Dims-1), math.Ceil(at(slow)))}
}

// magnitude is by how much yarn makes queries and keys longer.
func (k *keys) magnitude(factor float64) float64 {
	grow := func(by float64) float64 {
		if factor <= 1 {
			return 1
		}
		return 1 + 0.1*by*math.Log(factor)
	}
	return grow(1) / grow(k.number("rope.scaling.yarn_log_multiplier", 0))
}

// speed is the angle by which pair i turns from one position to the next.
func (r Rope) speed(i int, factor float64) float64 {
	plain := math.Pow(r.Base, -2*float64(i)/float64(r.Dims)) / factor
	slowed := plain / r.Scale
	if r.yarn == nil {
		return slowed
	}
	fade := (float64(i) - r.yarn.low) / max(0.001, r.yarn.high-r.yarn.low)
	keep := 1 - min(1, max(0, fade))
	return slowed*(1-keep) + plain*keep
}

// turns computes cosine and sine of every pair's angle at every position of the
// context: (ContextLength, Dims/2, 2).
func (l *loader) turns(r Rope, context int) device.Buffer {
	factors := l.ropeFactors(r, context)
	turns := make([]float32, context*r.Dims)
	for i, factor := range factors {
		r.turn(turns[2*i:], r.speed(i, float64(factor)))
	}
	b := l.dev.Buffer(len(turns))
	l.dev.Upload(b, turns)
	return b
}

// turn computes cosine and sine of one pair at every position. The angle is that of a
// step of 64 positions and that of a place in it (a sine takes longer than four
// products); the error is that of float64, some 1e-16.
func (r Rope) turn(turns []float32, speed float64) {
	const step = 64
	var sin, cos [step]float64
	for j := range step {
		sin[j], cos[j] = math.Sincos(float64(j) * speed)
	}
	for pos := 0; pos*r.Dims < len(turns); pos += step {
		s, c := math.Sincos(float64(pos) * speed)
		s, c = s*r.Magnitude, c*r.Magnitude
		for j := 0; j < step && (pos+j)*r.Dims < len(turns); j++ {
			at := (pos + j) * r.Dims
			turns[at], turns[at+1] = float32(c*cos[j]-s*sin[j]), float32(s*cos[j]+c*sin[j])
		}
	}
}

// ropeFactors divide the speeds of the pairs: those of llama 3, or those of
// longrope that fit the context.
func (l *loader) ropeFactors(r Rope, context int) []float32 {
	name := "rope_freqs.weight"
	if r.long {
		name = "rope_factors_short.weight"
		if context > r.orig {
			name = "rope_factors_long.weight"
		}
	}
	l.skip("rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight")
	if _, ok := l.f.Tensor(name); ok {
		if factors := l.values(name, r.Dims/2); factors != nil {
			return factors
		}
	}
	ones := make([]float32, r.Dims/2)
	for i := range ones {
		ones[i] = 1
	}
	return ones
}
