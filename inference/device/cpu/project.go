package cpu

import (
	"rbee/inference/device"
	"rbee/inference/kernel"
)

// norm is a device.Norm on this device.
type norm struct {
	weight, bias []float32
	eps          float32
	centre       bool
}

func normOf(n device.Norm) (r norm) {
	if n.Weight != nil {
		r = norm{floats(n.Weight), optional(n.Bias), n.Eps, n.Centre}
	}
	return r
}

// optional returns the values of a buffer that may be nil.
func optional(b device.Buffer) []float32 {
	if b == nil {
		return nil
	}
	return floats(b)
}

// apply sets dst to the norm of x, as long as the weights; dst may be x.
func (n *norm) apply(dst, x []float32) {
	if n.centre {
		kernel.LayerNorm(dst, x, n.weight, n.bias, n.eps)
		return
	}
	kernel.RMSNorm(dst, x, n.weight, n.eps)
	if n.bias != nil {
		kernel.Add(dst, n.bias)
	}
}

// normalize is Device.Normalize.
type normalize struct {
	x    []float32
	norm norm
}

// Normalize brings n columns of x to one size.
func (d *Device) Normalize(x device.Buffer, n int, by device.Norm) {
	op := &d.normalize
	op.norm = normOf(by)
	if op.norm.weight != nil {
		op.x = floats(x)[:n*len(op.norm.weight)]
		d.pool.run(op)
	}
}

func (op *normalize) step(_ *barrier, thread, threads int) {
	width := len(op.norm.weight)
	from, to := share(len(op.x)/width, thread, threads)
	for i := from; i < to; i++ {
		x := op.x[i*width:][:width]
		op.norm.apply(x, x)
	}
}

// columns are the normed columns that an operation multiplies.
type columns struct {
	x    []float32
	norm norm
}

// take prepares for n columns of k values of x.
func (d *Device) take(c *columns, x device.Buffer, n, k int, by device.Norm) {
	c.x, c.norm = floats(x)[:n*k], normOf(by)
	if c.norm.weight != nil {
		d.normed = grow(d.normed, n*k)
	}
	d.acts.reset(n, k)
}

// quantize puts the thread's share of the columns into the activations.
func (c *columns) quantize(d *Device, thread, threads int) {
	a := &d.acts
	from, to := share(len(a.cols), thread, threads)
	for i := from; i < to; i++ {
		x := c.x[i*a.k:][:a.k]
		if c.norm.weight != nil {
			normed := d.normed[i*a.k:][:a.k]
			c.norm.apply(normed, x)
			x = normed
		}
		a.set(i, x)
	}
}

// project is Device.Project.
type project struct {
	d    *Device
	cols columns
	to   []device.Projection
}

// Project computes products of normed columns.
func (d *Device) Project(x device.Buffer, n int, by device.Norm, to ...device.Projection) {
	k := to[0].W.Cols()
	p := &d.project
	d.take(&p.cols, x, n, k, by)
	p.to = append(p.to[:0], to...)
	for _, t := range to {
		if t.W.Cols() != k {
			panic("cpu: project matrices of different widths")
		}
		d.acts.want(t.W.(weight))
	}
	d.acts.layOut()
	d.pool.run(p)
}

func (p *project) step(b *barrier, thread, threads int) {
	a := &p.d.acts
	p.cols.quantize(p.d, thread, threads)
	b.wait()
	biased := false
	for _, t := range p.to {
		w := t.W.(weight)
		a.multiply(floats(t.Dst)[:len(a.cols)*w.Rows()], w, thread, threads)
		biased = biased || t.Bias != nil
	}
	if !biased {
		return
	}
	b.wait()
	for _, t := range p.to {
		if t.Bias != nil {
			addBias(floats(t.Dst)[:len(a.cols)*t.W.Rows()], floats(t.Bias), thread, threads)
		}
	}
}

// addBias adds bias to the thread's rows of every column of x.
func addBias(x, bias []float32, thread, threads int) {
	rows := len(bias)
	from, to := share(rows, thread, threads)
	for at := 0; at < len(x); at += rows {
		kernel.Add(x[at+from:at+to], bias[from:to])
	}
}

// sum is how a device.Sum joins the residual stream, in two phases: product, and
// what is added of it.
type sum struct {
	d     *Device
	x     []float32 // (n, w.Rows)
	w     weight
	bias  []float32
	post  norm
	scale float32
	gate  []float32 // a switch for each column
}

// join prepares a sum of n columns, whose activations the caller fills.
func (d *Device) join(s *sum, x device.Buffer, n int, to device.Sum) {
	w := to.W.(weight)
	*s = sum{d, floats(x)[:n*w.Rows()], w, optional(to.Bias), normOf(to.Post), to.Scale, optional(to.Switch)}
	if s.scale == 0 {
		s.scale = 1
	}
	d.out = grow(d.out, n*w.Rows())
	d.acts.reset(n, w.Cols())
	d.acts.want(w)
	d.acts.layOut()
}

// run computes the product and adds it. All activations are set.
func (s *sum) run(b *barrier, thread, threads int) {
	b.wait()
	s.d.acts.multiply(s.d.out, s.w, thread, threads)
	b.wait()
	rows := s.w.Rows()
	n := len(s.x) / rows
	if s.post.weight != nil { // a norm must see a column whole
		from, to := share(n, thread, threads)
		for i := from; i < to; i++ {
			s.add(i, 0, rows)
		}
		return
	}
	from, to := share(rows, thread, threads)
	for i := range n {
		s.add(i, from, to)
	}
}

// add adds rows from..to of column i.
func (s *sum) add(i, from, to int) {
	at := i * s.w.Rows()
	x, y := s.x[at+from:at+to], s.d.out[at+from:at+to]
	if s.bias != nil {
		kernel.Add(y, s.bias[from:to])
	}
	if s.post.weight != nil {
		s.post.apply(y, y)
	}
	scale := s.scale
	if s.gate != nil {
		scale = float32(scale * kernel.Sigmoid(s.gate[i]))
	}
	if scale == 1 {
		kernel.Add(x, y)
		return
	}
	kernel.AddScaled(x, y, scale)
}

// addProject is Device.AddProject.
type addProject struct {
	sum
	y []float32
}

// AddProject adds W · y to x.
func (d *Device) AddProject(x device.Buffer, n int, y device.Buffer, to device.Sum) {
	op := &d.add
	d.join(&op.sum, x, n, to)
	op.y = floats(y)[:n*op.w.Cols()]
	d.pool.run(op)
}

func (op *addProject) step(b *barrier, thread, threads int) {
	a := &op.d.acts
	from, to := share(len(a.cols), thread, threads)
	for i := from; i < to; i++ {
		a.set(i, op.y[i*a.k:][:a.k])
	}
	op.run(b, thread, threads)
}

// gated is Device.AddGated.
type gated struct {
	sum
	gate, up []float32
	act      device.Activation
}

// AddGated adds Down · (act(gate) · up) to x.
func (d *Device) AddGated(x device.Buffer, n int, gate, up device.Buffer, act device.Activation, to device.Sum) {
	op := &d.gated
	d.join(&op.sum, x, n, to)
	op.act, op.up = act, nil
	op.gate = floats(gate)[:n*op.w.Cols()]
	if up != nil {
		op.up = floats(up)[:len(op.gate)]
	}
	d.pool.run(op)
}

func (op *gated) step(b *barrier, thread, threads int) {
	a := &op.d.acts
	from, to := share(len(op.gate), thread, threads)
	if op.up == nil {
		activate(op.act, op.gate[from:to])
	} else {
		activateMul(op.act, op.gate[from:to], op.up[from:to])
	}
	b.wait()
	from, to = share(len(a.cols), thread, threads)
	for i := from; i < to; i++ {
		a.set(i, op.gate[i*a.k:][:a.k])
	}
	op.run(b, thread, threads)
}

// activate sets x to act(x).
func activate(act device.Activation, x []float32) {
	switch act {
	case device.Silu:
		kernel.Silu(x, x)
	case device.Gelu:
		kernel.Gelu(x, x)
	case device.GeluErf:
		kernel.GeluErf(x, x)
	default:
		panic("cpu: an activation that needs a gate")
	}
}

// activateMul sets x to act(x)·y.
func activateMul(act device.Activation, x, y []float32) {
	switch act {
	case device.Silu:
		kernel.SiluMul(x, x, y)
	case device.Gelu:
		kernel.GeluMul(x, x, y)
	case device.GeluErf:
		kernel.GeluErfMul(x, x, y)
	case device.ClampedSwiglu:
		kernel.ClampedSwigluMul(x, x, y)
	default:
		panic("cpu: an unknown activation")
	}
}

// squash is Device.Squash.
type squash struct {
	x            []float32
	scale, limit float32
}

// Squash scales the first n values and keeps them within ±limit.
func (d *Device) Squash(x device.Buffer, n int, scale, limit float32) {
	d.squash = squash{floats(x)[:n], scale, limit}
	d.pool.run(&d.squash)
}

func (op *squash) step(_ *barrier, thread, threads int) {
	from, to := share(len(op.x), thread, threads)
	kernel.Squash(op.x[from:to], op.scale, op.limit)
}
