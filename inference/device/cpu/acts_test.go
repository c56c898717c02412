package cpu

import (
	"math/rand/v2"
	"slices"
	"testing"

	"rbee/inference/kernel"
	"rbee/inference/quant"
)

// products is a task: columns are quantised in one phase and multiplied in the next.
type products struct {
	a   *acts
	x   []float32
	w   []weight
	dst [][]float32
}

func (op *products) step(b *barrier, thread, threads int) {
	from, to := share(len(op.a.cols), thread, threads)
	for i := from; i < to; i++ {
		op.a.set(i, op.x[i*op.a.k:][:op.a.k])
	}
	b.wait()
	for i, w := range op.w {
		op.a.multiply(op.dst[i], w, thread, threads)
	}
}

// Any number of threads gives the same bits, and no operation allocates.
func TestThreads(t *testing.T) {
	const rows, k, n = 100, 512, 7
	r := rand.New(rand.NewPCG(1, 2))
	op := &products{a: &acts{scratch: make([]kernel.Scratch, 8)}, x: make([]float32, n*k)}
	for i := range op.x {
		op.x[i] = float32(r.NormFloat64())
	}
	for _, typ := range []quant.Type{quant.F32, quant.Q80, quant.Q5K} {
		file := make([]byte, rows*typ.RowBytes(k))
		for i := range file {
			file[i] = byte(r.IntN(64)) // scales that are finite
		}
		m, err := kernel.Pack(typ, file, rows, k)
		if err != nil {
			t.Fatal(err)
		}
		op.w, op.dst = append(op.w, weight{Matrix: m}), append(op.dst, make([]float32, n*rows))
	}
	var want []float32
	for threads := 1; threads <= 4; threads++ {
		p := newPool(threads)
		run := func() {
			op.a.reset(n, k)
			for _, w := range op.w {
				op.a.want(w)
			}
			op.a.layOut()
			p.run(op)
		}
		run()
		got := slices.Concat(op.dst...)
		if want == nil {
			want = got
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d threads: other bits than one", threads)
		}
		if a := testing.AllocsPerRun(10, run); a != 0 {
			t.Errorf("%d threads: %v allocations", threads, a)
		}
		p.close()
	}
}
