package inference

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"runtime/debug"
	"time"

	"rbee/inference/device"
	"rbee/inference/gguf"
	"rbee/inference/kernel"
	"rbee/inference/model"
)

// A BenchTest is one measurement: Prompt tokens read at once, or Gen tokens made one
// by one, with Depth tokens in the cache before.
type BenchTest struct{ Prompt, Gen, Depth int }

// Tokens is how many tokens the context must have room for.
func (t BenchTest) Tokens() int { return t.Depth + t.Prompt + t.Gen }

// A BenchResult is what a test came to.
type BenchResult struct {
	BenchTest

	Samples []float64 // tokens per second of each repetition
	Mean    float64
	Stddev  float64
	GBps    float64 // of weights read, 10⁹ bytes per second; 0 where they are read for many tokens at once
	GOPS    float64 // of prompts: a multiplication and an addition for each weight and token, 10⁹ per second

	work gguf.Work
}

// Caches may hold weights of less than cached bytes: how fast those are read says
// nothing of the memory. Nor does a rate of more than mostShare of what it gives.
const (
	cached    = 32 << 20
	mostShare = 1.3
)

// ReadShare is the part of readGBps that the test came to; 0 where that says nothing.
func (r BenchResult) ReadShare(readGBps float64) float64 {
	if readGBps <= 0 || r.work.ReadBytes < cached || r.GBps > mostShare*readGBps {
		return 0
	}
	return r.GBps / readGBps
}

// Int8Share is the part of peakGOPS that the test came to; 0 where that says nothing:
// most weights of the model are floats.
func (r BenchResult) Int8Share(peakGOPS float64) float64 {
	if peakGOPS <= 0 || 2*r.work.Blocks < r.work.Multiplied+r.work.Head {
		return 0
	}
	return r.GOPS / peakGOPS
}

// Limits are what the hardware can do at most.
type Limits = device.Limits

// gaugeBytes are read to find out how fast memory is: more than a core's share of
// any cache.
const gaugeBytes = 512 << 20

// Gauge measures the limits of the engine's device, with the engine's threads; there
// are none where the device cannot. It is called as Bench is.
func (e *Engine) Gauge() Limits {
	defer debug.FreeOSMemory() // what was read must not stay beside the model
	if g, ok := e.dev.(device.Gauge); ok {
		return g.Gauge(gaugeBytes)
	}
	return Limits{}
}

// VectorPath names the best vector instructions in use: "avx512vnni", "avx2",
// "neon-dotprod", "neon", or "generic" for plain Go.
func VectorPath() string {
	return append(kernel.Paths(), "generic")[0]
}

// BenchModel describes the model of a benchmark.
type BenchModel struct {
	Name       string
	Parameters int64
	Bytes      int64 // of its tensors
}

// BenchModel describes the model.
func (e *Engine) BenchModel() BenchModel {
	return BenchModel{e.file.Name(), e.file.Parameters(), e.file.TensorBytes()}
}

// Bench measures a test as llama-bench does: once to warm up, then repeat times.
// What stands before it in the cache is not measured, nothing is sampled, and the
// tokens are of a fixed sequence. It is called instead of Run.
func (e *Engine) Bench(ctx context.Context, t BenchTest, repeat int) (BenchResult, error) {
	r := BenchResult{BenchTest: t, work: e.file.Work()}
	if t.Prompt < 0 || t.Gen < 0 || t.Depth < 0 || t.Prompt+t.Gen == 0 {
		return r, fmt.Errorf("%w: nothing to measure", ErrBadRequest)
	}
	if err := e.answers(); err != nil && t.Gen+t.Depth > 0 {
		return r, err
	}
	if t.Tokens() > e.info.ContextLength {
		return r, &ContextError{Need: t.Tokens(), Have: e.info.ContextLength}
	}
	seq, err := e.model.NewSequence()
	if err != nil {
		return r, fmt.Errorf("inference: bench: %w", err)
	}
	defer seq.Close()
	b := bench{e: e, seq: seq, state: 1}
	warm := BenchTest{Prompt: t.Prompt, Gen: min(t.Gen, 1)}
	if _, err := b.run(ctx, warm); err != nil {
		return r, err
	}
	for range max(repeat, 1) {
		took, err := b.run(ctx, t)
		if err != nil {
			return r, err
		}
		r.Samples = append(r.Samples, float64(t.Prompt+t.Gen)/took.Seconds())
	}
	r.Mean, r.Stddev = meanStddev(r.Samples)
	if t.Prompt == 0 {
		r.GBps = r.Mean * float64(r.work.ReadBytes) / 1e9
	}
	if t.Gen == 0 { // the head is for the last token alone
		r.GOPS = r.Mean * 2 * (float64(r.work.Multiplied) + float64(r.work.Head)/float64(t.Prompt)) / 1e9
	}
	return r, nil
}

type bench struct {
	e      *Engine
	seq    *model.Sequence
	tokens []int32
	state  uint64
}

// run measures once.
func (b *bench) run(ctx context.Context, t BenchTest) (time.Duration, error) {
	b.seq.Truncate(0)
	if err := b.read(ctx, t.Depth, model.None); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := b.read(ctx, t.Prompt, model.Last); err != nil {
		return 0, err
	}
	for range t.Gen {
		if err := b.read(ctx, 1, model.Last); err != nil {
			return 0, err
		}
	}
	return time.Since(began), nil
}

// read computes n tokens, as many at once as a step takes.
func (b *bench) read(ctx context.Context, n int, last model.Want) error {
	for n > 0 {
		k := min(n, b.e.model.MaxBatch())
		b.tokens = b.tokens[:0]
		for range k {
			b.state = b.state*6364136223846793005 + 1442695040888963407
			b.tokens = append(b.tokens, int32(b.state>>33%uint64(b.e.info.Vocab)))
		}
		in := model.Input{Seq: b.seq, Tokens: b.tokens}
		if n -= k; n == 0 {
			in.Logits = last
		}
		if _, err := b.e.model.Step(ctx, []model.Input{in}); err != nil {
			return fmt.Errorf("inference: bench: %w", err)
		}
	}
	return nil
}

func meanStddev(samples []float64) (mean, stddev float64) {
	for _, s := range samples {
		mean += s / float64(len(samples))
	}
	if len(samples) < 2 {
		return mean, 0
	}
	for _, s := range samples {
		stddev += (s - mean) * (s - mean) / float64(len(samples)-1)
	}
	return mean, math.Sqrt(stddev)
}

// writeFloats writes float32 values, little-endian.
func writeFloats(w io.Writer, v []float32) error {
	b := make([]byte, 0, 4*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("inference: %w", err)
	}
	return nil
}
