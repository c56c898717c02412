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
}

// A Row is where one column stands: its position in its sequence, and the pages
// of that sequence in their order. Position p lies in Pages[p/PageTokens].
type Row struct {
	Pages []int32
	Pos   int
}

// A Norm is a root mean square norm: x / √(mean(x²)+Eps) · Weight. The zero Norm
// changes nothing.
type Norm struct {
	Weight Buffer
	Eps    float32
}

// A Projection is one product of a Project: Dst (n, W.Rows) = W · x.
type Projection struct {
	W   Weight
	Dst Buffer
}

// Attention is one layer's attention over a cache.
type Attention struct {
	Cache Cache
	Layer int
	Heads int     // of the queries; a multiple of the cache's KVHeads
	Scale float32 // of the scores
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
	Table(t quant.Type, rows, cols int, file []byte) (Table, error)
	Cache(s CacheShape) (Cache, error)

	// Embed sets column i of dst to row tokens[i] of the table.
	Embed(dst Buffer, t Table, tokens []int32)

	// Gather sets column i of dst (len(columns), width) to column columns[i] of x.
	Gather(dst, x Buffer, width int, columns []int32)

	// Project computes one or more products of the same n normed columns of x.
	Project(x Buffer, n int, norm Norm, to ...Projection)

	// AddProject adds W · y to x: x (n, W.Rows), y (n, W.Cols). The product is
	// summed by itself first.
	AddProject(x Buffer, n int, y Buffer, w Weight)

	// AddGated adds Down · (silu(gate) · up) to x: gate and up are (n, Down.Cols).
	AddGated(x Buffer, n int, gate, up Buffer, down Weight)

	// Store turns the rows' queries (n, Heads·HeadSize) and keys (n,
	// KVHeads·HeadSize) by their positions and puts keys and values in the cache.
	// turns holds, for each position, the cosine and sine of each pair's angle.
	Store(a Attention, q, k, v Buffer, turns Buffer, pairs int, rows []Row)

	// Attend sets dst (n, Heads·HeadSize) to the attention of each row's query
	// over its sequence's positions up to its own.
	Attend(dst Buffer, a Attention, q Buffer, rows []Row)

	// Sync waits for all operations and returns the first error since the last Sync.
	Sync() error

	// Close gives all memory back and ends the device's threads.
	Close() error
}
