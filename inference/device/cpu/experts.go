package cpu

import (
	"slices"

	"rbee/inference/device"
	"rbee/inference/kernel"
)

// experts is Device.AddExperts.
//
// A place is one column's turn with one of its experts. Places are put in the
// order of experts, so that the columns of one expert lie side by side and its
// weights are read once; the sum over a column's experts goes by rank, which
// depends on nothing but the column.
type experts struct {
	d      *Device
	e      *device.Experts
	x      []float32 // (n, width)
	cols   columns
	scores []float32 // (n, experts)
	n      int
	hidden int

	chosen []int32   // (n, Used): the experts of each column, by rank
	weight []float32 // (n, Used)
	place  []int32   // (n, Used): where the turn stands
	first  []int32   // of each expert: its first place; one more at the end
	in     []kernel.Act
	gate   []float32 // (places, hidden)
	up     []float32
	out    []float32 // (places, width)
	acts   acts      // of what the gates gave
}

// AddExperts adds a mixture of experts to x.
func (d *Device) AddExperts(x device.Buffer, n int, by device.Norm, scores device.Buffer, e *device.Experts) {
	op := &d.experts
	gate, up, down := e.Gate[0].(weight), e.Up[0].(weight), e.Down[0].(weight)
	op.e, op.n, op.hidden = e, n, down.Cols()
	op.x = floats(x)[:n*down.Rows()]
	op.scores = floats(scores)[:n*len(e.Gate)]
	d.take(&op.cols, x, n, gate.Cols(), by)
	d.acts.want(gate)
	d.acts.want(up)
	d.acts.layOut()
	places := n * e.Used
	op.chosen, op.place, op.weight = grow(op.chosen, places), grow(op.place, places), grow(op.weight, places)
	op.first = grow(op.first, len(e.Gate)+1)
	op.in = grow(op.in, places)
	op.gate, op.up = grow(op.gate, places*op.hidden), grow(op.up, places*op.hidden)
	op.out = grow(op.out, places*down.Rows())
	op.acts.reset(places, op.hidden)
	op.acts.want(down)
	op.acts.layOut()
	d.pool.run(op)
}

func (op *experts) step(b *barrier, thread, threads int) {
	op.cols.quantize(op.d, thread, threads)
	from, to := share(op.n, thread, threads)
	for i := from; i < to; i++ {
		op.choose(i)
	}
	b.wait()
	if thread == 0 {
		op.arrange()
	}
	b.wait()
	op.multiply(op.in, op.gate, op.e.Gate, thread, threads)
	op.multiply(op.in, op.up, op.e.Up, thread, threads)
	b.wait()
	from, to = share(len(op.place), thread, threads)
	for p := from; p < to; p++ {
		op.activate(p)
	}
	b.wait()
	op.multiply(op.acts.cols, op.out, op.e.Down, thread, threads)
	b.wait()
	width := len(op.x) / op.n
	from, to = share(width, thread, threads)
	for i := range op.n {
		op.add(i, from, to)
	}
}

// choose finds the experts of column i and their weights.
func (op *experts) choose(i int) {
	e := op.e
	scores := op.scores[i*len(e.Gate):][:len(e.Gate)]
	chosen, weight := op.chosen[i*e.Used:][:e.Used], op.weight[i*e.Used:][:e.Used]
	for rank := range chosen {
		best := int32(-1)
		for j, v := range scores {
			if (best < 0 || v > scores[best]) && !slices.Contains(chosen[:rank], int32(j)) {
				best = int32(j)
			}
		}
		chosen[rank], weight[rank] = best, scores[best]
	}
	top := weight[0]
	total := float32(0)
	for rank, v := range weight {
		weight[rank] = kernel.Exp(v - top)
		total += weight[rank]
	}
	if e.OfChosen {
		scale(weight, 1/total)
		return
	}
	all := float32(0)
	for _, v := range scores {
		all += kernel.Exp(v - top)
	}
	scale(weight, 1/all)
	if e.Normalize {
		scale(weight, 1/max(float32(total/all), 0x1p-14)) // as llama.cpp: the smallest normal half
	}
}

func scale(x []float32, by float32) {
	for i := range x {
		x[i] *= by
	}
}

// arrange gives every turn its place.
func (op *experts) arrange() {
	clear(op.first)
	for _, e := range op.chosen {
		op.first[e+1]++
	}
	for e := 1; e < len(op.first); e++ {
		op.first[e] += op.first[e-1]
	}
	for turn, e := range op.chosen {
		p := op.first[e]
		op.first[e]++
		op.place[turn] = p
		op.in[p] = op.d.acts.cols[turn/op.e.Used]
	}
	copy(op.first[1:], op.first[:len(op.first)-1]) // each had moved to the next one's first
	op.first[0] = 0
}

// multiply sets dst (places, rows) to each expert's product with its columns.
func (op *experts) multiply(cols []kernel.Act, dst []float32, of []device.Weight, thread, threads int) {
	for e := range of {
		from, to := int(op.first[e]), int(op.first[e+1])
		if from == to {
			continue
		}
		w := of[e].(weight)
		a := acts{k: w.Cols(), cols: cols[from:to], scratch: op.d.acts.scratch}
		a.multiply(dst[from*w.Rows():to*w.Rows()], w, thread, threads)
	}
}

// expertAt is whose the place is.
func (op *experts) expertAt(p int) int {
	e := 0
	for int(op.first[e+1]) <= p {
		e++
	}
	return e
}

// activate makes the activations of a place.
func (op *experts) activate(p int) {
	gate, up := op.gate[p*op.hidden:][:op.hidden], op.up[p*op.hidden:][:op.hidden]
	if op.e.GateBias != nil {
		kernel.Add(gate, floats(op.e.GateBias)[op.expertAt(p)*op.hidden:][:op.hidden])
	}
	if op.e.UpBias != nil {
		kernel.Add(up, floats(op.e.UpBias)[op.expertAt(p)*op.hidden:][:op.hidden])
	}
	activateMul(op.e.Act, gate, up)
	op.acts.set(p, gate)
}

// add adds rows from..to of what column i's experts gave.
func (op *experts) add(i, from, to int) {
	width := len(op.x) / op.n
	x := op.x[i*width:][:width]
	sum := op.out[int(op.place[i*op.e.Used])*width:][:width] // of the first rank: the others join it
	for rank := range op.e.Used {
		turn := i*op.e.Used + rank
		y := op.out[int(op.place[turn])*width:][:width]
		if op.e.DownBias != nil {
			kernel.Add(y[from:to], floats(op.e.DownBias)[int(op.chosen[turn])*width:][from:to])
		}
		if w := op.weight[turn]; rank == 0 {
			scale(sum[from:to], w)
		} else {
			kernel.AddScaled(sum[from:to], y[from:to], w)
		}
	}
	if s := op.e.Scale; s != 0 && s != 1 {
		kernel.AddScaled(x[from:to], sum[from:to], s)
		return
	}
	kernel.Add(x[from:to], sum[from:to])
}
