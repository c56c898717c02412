// Package device says what a model needs of whatever computes it: some fused
// operations on buffers that live there. The CPU is one (package cpu).
//
// All numbers are float32, all matrices row-major. A column is one token's
// vector: n columns of width d are a buffer of (n, d). What an operation gives
// for a column depends on nothing but that column and, in attention, its own
// sequence: not on n, not on its neighbours, not on threads, not on which pages
// a sequence got.
package device

import "rbee/inference/quant"

// Info describes a device.
type Info struct {
	Backend string // "cpu"
	Name    string // of the hardware
	Class   string // the order of sums: equal classes give equal bits
	Threads int    // 0 where it means nothing
}

// A Buffer is float32 values in the device's memory.
type Buffer interface {
	Len() int
}

// A Weight is a (Rows, Cols) matrix of weights in the device's memory, in a form
// of the device's own.
type Weight interface {
	Rows() int
	Cols() int
	Bytes() int64
}

// A Table is a (rows, cols) matrix of which single rows are looked up.
type Table interface {
	Bytes() int64
}

// A Cache holds the keys and values of many sequences, in pages.
type Cache interface {
	Bytes() int64
}

// CacheShape is what a cache is made for. A page holds PageTokens tokens of one
// sequence, for all layers.
type CacheShape struct {
	Layers, Pages, PageTokens int
	KVHeads, HeadSize         int
	Half                      bool // float16 rather than float32
}

// A Row is where one column stands: its position in its sequence, how many
// tokens of the sequence it sees, from the first on (its own position + 1 in a
// causal model), and the pages of that sequence in their order. Position p lies
// in Pages[p/PageTokens].
type Row struct {
	Pages []int32
	Pos   int
	Sees  int
}

// A Norm brings a vector to one size: x / √(mean(x²)+Eps) · Weight + Bias, after
// taking its mean away if Centre (a layer norm). Bias may be nil. The zero Norm
// changes nothing.
type Norm struct {
	Weight, Bias Buffer
	Eps          float32
	Centre       bool
}

// A Projection is one product of a Project: Dst (n, W.Rows) = W · x + Bias. Bias
// (W.Rows) may be nil.
type Projection struct {
	W    Weight
	Bias Buffer
	Dst  Buffer
}

// A Sum is a product that joins the residual stream: x += Scale · Post(W · y + Bias).
type Sum struct {
	W      Weight
	Bias   Buffer  // (W.Rows) or nil
	Post   Norm    // of the product
	Scale  float32 // 0 is 1
	Switch Buffer  // (n) or nil: column i is multiplied by 1/(1+exp(−Switch[i])), too
}

// An Activation is the function between the matrices of an MLP.
type Activation int

// The activations. Gated, they give f(gate) · up.
const (
	Silu          Activation = iota // x / (1+exp(−x))
	Gelu                            // x/2 · (1+tanh(√(2/π)·(x+0.044715·x³)))
	GeluErf                         // x/2 · (1+erf(x/√2))
	ClampedSwiglu                   // of gpt-oss: min(x,7) / (1+exp(−1.702·x)) · (clamp(up,±7) + 1)
)

// A Rotation turns pairs of a head's values by angles that grow with the position.
type Rotation struct {
	Turns Buffer // (positions, Pairs, 2): cosine and sine; nil: nothing is turned
	Pairs int
	Split bool // pair i is (i, i+Pairs), else (2i, 2i+1)
}

// Attention is one layer's attention over a cache.
type Attention struct {
	Cache  Cache
	Layer  int
	Heads  int     // of the queries; a multiple of the cache's KVHeads
	Scale  float32 // of the scores
	Cap    float32 // scores are Cap·tanh(score/Cap); 0: as they are
	Window int     // a token sees itself and the Window−1 before it; 0: all
	Sinks  Buffer  // (Heads): a score of each head that takes its share and gives nothing; nil: none

	// Norms of queries and keys before they are turned: of each head, with weights
	// (HeadSize) or (heads, HeadSize), or of all heads as one vector if Whole.
	QueryNorm, KeyNorm Norm
	Whole              bool

	Rotate Rotation
}

// Experts is a mixture: each column goes through Used of many gated MLPs, chosen
// by its scores, and what they give is added up by weight.
type Experts struct {
	Gate, Up, Down             []Weight // of each expert
	GateBias, UpBias, DownBias Buffer   // (experts, rows) or nil
	Used                       int      // the experts with the highest scores; of equal ones the first
	OfChosen                   bool     // weights are the softmax of the chosen scores, else of all
	Normalize                  bool     // weights are divided by their sum
	Act                        Activation
	Scale                      float32 // of the sum; 0 is 1
}

// A Device computes. Its methods are called by one goroutine at a time; an
// operation may be under way when its method returns, and Sync waits for all.
// Operations panic when shapes do not fit: that is a bug of the caller.
type Device interface {
	Info() Info

	// Buffer returns n zeros. Upload fills a buffer, Read returns its first n
	// values after everything is computed: valid until the next operation on it.
	Buffer(n int) Buffer
	Upload(dst Buffer, src []float32)
	Read(b Buffer, n int) []float32

	// Weight makes a matrix of the bytes of a (rows, cols) tensor of the file; it
	// keeps no reference to them. Table does the same for lookups, but may keep one.
	Weight(t quant.Type, rows, cols int, file []byte) (Weight, error)

	// WeightSoon is Weight for a matrix that is not used at once: it may go on being
	// made. file is read until read is called, perhaps by another goroutine.
	WeightSoon(t quant.Type, rows, cols int, file []byte, read func()) (Weight, error)
	Table(t quant.Type, rows, cols int, file []byte) (Table, error)
	Cache(s CacheShape) (Cache, error)

	// Embed sets column i of dst to row rows[i] of the table times scale, or adds it.
	Embed(dst Buffer, t Table, rows []int32, scale float32)
	AddEmbed(dst Buffer, t Table, rows []int32)

	// Gather sets column i of dst (len(columns), width) to column columns[i] of x.
	Gather(dst, x Buffer, width int, columns []int32)

	// Normalize brings n columns of x, of the width of the norm's weights, to one size.
	Normalize(x Buffer, n int, norm Norm)

	// Project computes one or more products of the same n normed columns of x.
	Project(x Buffer, n int, norm Norm, to ...Projection)

	// AddProject adds the product of W and y to x: x (n, W.Rows), y (n, W.Cols). The
	// product is summed by itself first.
	AddProject(x Buffer, n int, y Buffer, to Sum)

	// AddGated is AddProject of act(gate) · up, both (n, W.Cols); of act(gate) alone
	// when up is nil. It overwrites gate.
	AddGated(x Buffer, n int, gate, up Buffer, act Activation, to Sum)

	// AddExperts adds what the experts make of the normed columns of x. scores are
	// (n, experts).
	AddExperts(x Buffer, n int, norm Norm, scores Buffer, e *Experts)

	// Store norms and turns the rows' queries (n, Heads·HeadSize) and keys (n,
	// KVHeads·HeadSize) and puts keys and values in the cache.
	Store(a *Attention, q, k, v Buffer, rows []Row)

	// Attend sets dst (n, Heads·HeadSize) to the attention of each row's query
	// over the positions that it sees. All of them must be stored.
	Attend(dst Buffer, a *Attention, q Buffer, rows []Row)

	// Squash sets the first n values to limit·tanh(x·scale/limit), or x·scale when
	// limit is 0.
	Squash(x Buffer, n int, scale, limit float32)

	// Sync waits for all operations and returns the first error since the last Sync.
	Sync() error

	// Close gives all memory back and ends the device's threads.
	Close() error
}
