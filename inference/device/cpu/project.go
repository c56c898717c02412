package cpu

import (
	"rbee/inference/device"
	"rbee/inference/kernel"
)

// project is Device.Project.
type project struct {
	d    *Device
	x    []float32
	norm []float32
	eps  float32
	to   []device.Projection
}

// Project computes products of normed columns.
func (d *Device) Project(x device.Buffer, n int, norm device.Norm, to ...device.Projection) {
	k := to[0].W.Cols()
	p := &d.project
	p.x, p.norm, p.eps, p.to = floats(x)[:n*k], nil, norm.Eps, append(p.to[:0], to...)
	if norm.Weight != nil {
		p.norm = floats(norm.Weight)[:k]
		d.normed = grow(d.normed, n*k)
	}
	d.acts.reset(n, k)
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
	from, to := share(len(a.cols), thread, threads)
	for i := from; i < to; i++ {
		x := p.x[i*a.k:][:a.k]
		if p.norm != nil {
			normed := p.d.normed[i*a.k:][:a.k]
			kernel.RMSNorm(normed, x, p.norm, p.eps)
			x = normed
		}
		a.set(i, x)
	}
	b.wait()
	for _, t := range p.to {
		w := t.W.(weight)
		a.multiply(floats(t.Dst)[:len(a.cols)*w.Rows()], w, thread, threads)
	}
}

// addProject is Device.AddProject.
type addProject struct {
	d    *Device
	x, y []float32
	w    weight
}

// AddProject adds W · y to x.
func (d *Device) AddProject(x device.Buffer, n int, y device.Buffer, w device.Weight) {
	op := &d.add
	op.w = w.(weight)
	op.x, op.y = floats(x)[:n*w.Rows()], floats(y)[:n*w.Cols()]
	d.out = grow(d.out, n*w.Rows())
	d.acts.reset(n, w.Cols())
	d.acts.want(op.w)
	d.acts.layOut()
	d.pool.run(op)
}

func (op *addProject) step(b *barrier, thread, threads int) {
	a := &op.d.acts
	from, to := share(len(a.cols), thread, threads)
	for i := from; i < to; i++ {
		a.set(i, op.y[i*a.k:][:a.k])
	}
	b.wait()
	a.multiply(op.d.out, op.w, thread, threads)
	b.wait()
	addShare(op.x, op.d.out, thread, threads)
}

// addShare adds the thread's share of y to x.
func addShare(x, y []float32, thread, threads int) {
	from, to := share(len(x), thread, threads)
	for i := from; i < to; i++ {
		x[i] += y[i]
	}
}

// gated is Device.AddGated.
type gated struct {
	d           *Device
	x, gate, up []float32
	down        weight
}

// AddGated adds Down · (silu(gate) · up) to x. It overwrites gate.
func (d *Device) AddGated(x device.Buffer, n int, gate, up device.Buffer, down device.Weight) {
	op := &d.gated
	op.down = down.(weight)
	k := down.Cols()
	op.x, op.gate, op.up = floats(x)[:n*down.Rows()], floats(gate)[:n*k], floats(up)[:n*k]
	d.out = grow(d.out, n*down.Rows())
	d.acts.reset(n, k)
	d.acts.want(op.down)
	d.acts.layOut()
	d.pool.run(op)
}

func (op *gated) step(b *barrier, thread, threads int) {
	a := &op.d.acts
	from, to := share(len(op.gate), thread, threads)
	kernel.SiluMul(op.gate[from:to], op.gate[from:to], op.up[from:to])
	b.wait()
	from, to = share(len(a.cols), thread, threads)
	for i := from; i < to; i++ {
		a.set(i, op.gate[i*a.k:][:a.k])
	}
	b.wait()
	a.multiply(op.d.out, op.down, thread, threads)
	b.wait()
	addShare(op.x, op.d.out, thread, threads)
}
