package cpu

import (
	"rbee/inference/device"
	"rbee/inference/kernel"
)

// embed is Device.Embed, AddEmbed and Gather.
type embed struct {
	dst, x  []float32
	table   *table // nil: columns of x are copied
	width   int
	columns []int32 // of x, or rows of the table
	scale   float32
	add     bool
	row     [][]float32 // of each thread, for what is added
}

// Embed looks up rows of a table.
func (d *Device) Embed(dst device.Buffer, t device.Table, rows []int32, scale float32) {
	d.lookup(dst, t, rows, scale, false)
}

// AddEmbed looks up rows of a table and adds them.
func (d *Device) AddEmbed(dst device.Buffer, t device.Table, rows []int32) {
	d.lookup(dst, t, rows, 1, true)
}

func (d *Device) lookup(dst device.Buffer, t device.Table, rows []int32, scale float32, add bool) {
	op, tab := &d.embed, t.(*table)
	op.dst, op.table, op.width, op.columns = floats(dst)[:len(rows)*tab.cols], tab, tab.cols, rows
	op.scale, op.add = scale, add
	op.row = grow(op.row, d.pool.threads)
	for i := range op.row {
		op.row[i] = grow(op.row[i], tab.cols)
	}
	d.pool.run(op)
}

// Gather copies the columns of x.
func (d *Device) Gather(dst, x device.Buffer, width int, columns []int32) {
	op := &d.embed
	op.dst, op.x, op.table, op.width, op.columns = floats(dst)[:len(columns)*width], floats(x), nil, width, columns
	d.pool.run(op)
}

func (op *embed) step(_ *barrier, thread, threads int) {
	from, to := share(len(op.columns), thread, threads)
	for i := from; i < to; i++ {
		dst := op.dst[i*op.width:][:op.width]
		switch {
		case op.table == nil:
			copy(dst, op.x[int(op.columns[i])*op.width:])
		case op.add:
			op.table.row(op.row[thread], op.columns[i])
			kernel.Add(dst, op.row[thread])
		default:
			op.table.row(dst, op.columns[i])
			if op.scale != 1 {
				scale(dst, op.scale)
			}
		}
	}
}
