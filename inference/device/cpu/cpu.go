// Package cpu computes on the processor, with threads of its own that live as
// long as the device.
//
// An operation is one run of all threads, in phases with a barrier between
// them: every output is made whole by one thread, in the order of reduction that
// package kernel lays down, so the number of threads changes no bit.
package cpu

import (
	"fmt"
	"sync"

	"rbee/inference/device"
	"rbee/inference/kernel"
	"rbee/inference/quant"
)

// A Device is the CPU. The caller's goroutine is its first thread.
type Device struct {
	name    string
	pool    *pool
	packing sync.WaitGroup // of weights that are on their way

	acts   acts      // activations of the operation under way
	out    []float32 // a product before it is added
	normed []float32 // columns after the norm, for float weights
	scores [][]float32

	// The operations, kept so that running one allocates nothing.
	embed     embed
	normalize normalize
	project   project
	add       addProject
	gated     gated
	experts   experts
	store     store
	attend    attend
	squash    squash
}

var _ device.Device = (*Device)(nil)

// Open starts a device of the given number of threads, at least one. name says
// what hardware it is.
func Open(threads int, name string) *Device {
	threads = max(threads, 1)
	d := &Device{name: name, pool: newPool(threads), scores: make([][]float32, threads)}
	d.acts.scratch = make([]kernel.Scratch, threads)
	d.project.d, d.experts.d, d.store.d, d.attend.d = d, d, d, d
	return d
}

// Info describes the device.
func (d *Device) Info() device.Info {
	return device.Info{Backend: "cpu", Name: d.name, Class: kernel.Class, Threads: d.pool.threads}
}

// Close ends the threads. Closing twice is fine.
func (d *Device) Close() error {
	d.packing.Wait()
	d.pool.close()
	return nil
}

// Sync does nothing: every operation is complete when it returns.
func (d *Device) Sync() error { return nil }

type buffer []float32

func (b buffer) Len() int { return len(b) }

// floats returns the values of a buffer that this device made.
func floats(b device.Buffer) []float32 { return b.(buffer) }

// Buffer returns n zeros.
func (d *Device) Buffer(n int) device.Buffer { return make(buffer, n) }

// Upload copies src to the start of dst.
func (d *Device) Upload(dst device.Buffer, src []float32) { copy(floats(dst)[:len(src)], src) }

// Read returns the buffer's own memory.
func (d *Device) Read(b device.Buffer, n int) []float32 { return floats(b)[:n:n] }

// A weight may still be on its way: packed is closed when it is there; nil: it is.
type weight struct {
	*kernel.Matrix
	packed <-chan struct{}
}

// await returns when the weight is there.
func (w weight) await() {
	if w.packed != nil {
		<-w.packed
	}
}

func (w weight) Rows() int { return w.Matrix.Rows }
func (w weight) Cols() int { return w.K }

// Weight packs a tensor of the file.
func (d *Device) Weight(t quant.Type, rows, cols int, file []byte) (device.Weight, error) {
	m, err := kernel.Pack(t, file, rows, cols)
	if err != nil {
		return nil, fmt.Errorf("cpu: %w", err)
	}
	return weight{Matrix: m}, nil
}

// WeightSoon packs a tensor of the file on a goroutine that ends with it, or before
// Close does.
func (d *Device) WeightSoon(t quant.Type, rows, cols int, file []byte, read func()) (device.Weight, error) {
	m, err := kernel.New(t, file, rows, cols)
	if err != nil {
		return nil, fmt.Errorf("cpu: %w", err)
	}
	packed := make(chan struct{})
	d.packing.Go(func() {
		m.Fill(file)
		read()
		close(packed)
	})
	return weight{m, packed}, nil
}

// A table looks rows up in the file's own bytes: only those that are used are
// ever in memory.
type table struct {
	typ        quant.Type
	rows, cols int
	file       []byte
}

func (t *table) Bytes() int64 { return 0 }

func (t *table) row(dst []float32, i int32) {
	size := t.typ.RowBytes(t.cols)
	t.typ.Decode(dst[:t.cols], t.file[int(i)*size:][:size])
}

// Table refers to a tensor of the file, which must stay open.
func (d *Device) Table(t quant.Type, rows, cols int, file []byte) (device.Table, error) {
	if !t.Known() || cols%t.Block() != 0 || len(file) != rows*t.RowBytes(cols) {
		return nil, fmt.Errorf("cpu: a table of type %v (%d, %d) of %d bytes; supported are %s", t, rows, cols, len(file), quant.Supported())
	}
	return &table{t, rows, cols, file}, nil
}

// grow returns a slice of n, the old one when it is long enough.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
