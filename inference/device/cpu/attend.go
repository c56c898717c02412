package cpu

import (
	"fmt"

	"rbee/inference/device"
	"rbee/inference/kernel"
)

// A cache is (pages, layers, heads) blocks of keys and of values. In a page the
// keys of a head are (HeadSize, PageTokens), so that the scores of neighbouring
// tokens lie side by side; its values are (PageTokens, HeadSize).
type cache struct {
	device.CacheShape
	keys, values []float32
}

func (c *cache) Bytes() int64 { return 4 * int64(len(c.keys)+len(c.values)) }

// Cache makes room for the keys and values of pages × PageTokens tokens.
func (d *Device) Cache(s device.CacheShape) (device.Cache, error) {
	n := s.Pages * s.Layers * s.KVHeads * s.PageTokens * s.HeadSize
	if n <= 0 {
		return nil, fmt.Errorf("cpu: a cache of shape %+v", s)
	}
	return &cache{s, make([]float32, n), make([]float32, n)}, nil
}

// at is where the block of a head begins, in keys and in values.
func (c *cache) at(page int32, layer, head int) int {
	return ((int(page)*c.Layers+layer)*c.KVHeads + head) * c.PageTokens * c.HeadSize
}

// embed is Device.Embed, AddEmbed and Gather.
type embed struct {
	dst, x  []float32
	table   *table
	width   int
	columns []int32
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
	op.dst, op.table, op.width, op.columns, op.scale, op.add = floats(dst)[:len(rows)*tab.cols], tab, tab.cols, rows, scale, add
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

// store is Device.Store.
type store struct {
	d          *Device
	a          *device.Attention
	c          *cache
	q, k, v    []float32
	turns      []float32
	query, key norm
	rows       []device.Row
}

// Store norms and turns queries and keys and fills the cache.
func (d *Device) Store(a *device.Attention, q, k, v device.Buffer, rows []device.Row) {
	c := a.Cache.(*cache)
	n := len(rows)
	op := &d.store
	op.a, op.c, op.rows, op.turns = a, c, rows, optional(a.Rotate.Turns)
	op.query, op.key = normOf(a.QueryNorm), normOf(a.KeyNorm)
	op.q = floats(q)[:n*a.Heads*c.HeadSize]
	op.k, op.v = floats(k)[:n*c.KVHeads*c.HeadSize], floats(v)[:n*c.KVHeads*c.HeadSize]
	d.pool.run(op)
}

func (op *store) step(_ *barrier, thread, threads int) {
	c := op.c
	from, to := share(len(op.rows), thread, threads)
	for i := from; i < to; i++ {
		pos := op.rows[i].Pos
		op.prepare(op.q[i*op.a.Heads*c.HeadSize:][:op.a.Heads*c.HeadSize], &op.query, pos)
		keys := op.k[i*c.KVHeads*c.HeadSize:][:c.KVHeads*c.HeadSize]
		op.prepare(keys, &op.key, pos)
		page, slot := op.rows[i].Pages[pos/c.PageTokens], pos%c.PageTokens
		for h := range c.KVHeads {
			at := c.at(page, op.a.Layer, h)
			for d, x := range keys[h*c.HeadSize:][:c.HeadSize] {
				c.keys[at+d*c.PageTokens+slot] = x
			}
			copy(c.values[at+slot*c.HeadSize:][:c.HeadSize], op.v[(i*c.KVHeads+h)*c.HeadSize:])
		}
	}
}

// prepare norms and turns the heads of one row.
func (op *store) prepare(heads []float32, by *norm, pos int) {
	size := op.c.HeadSize
	if by.weight != nil && op.a.Whole {
		by.apply(heads, heads)
	}
	var turn []float32
	if op.turns != nil {
		n := 2 * op.a.Rotate.Pairs
		turn = op.turns[pos*n:][:n]
	}
	for h := 0; h < len(heads); h += size {
		x := heads[h:][:size]
		if by.weight != nil && !op.a.Whole {
			own := *by
			if len(by.weight) > size { // each head has its own weights
				own.weight = by.weight[h:][:size]
			}
			own.apply(x, x)
		}
		if op.a.Rotate.Split {
			kernel.RopeSplit(x, turn)
		} else {
			kernel.RopePairs(x, turn)
		}
	}
}

// attend is Device.Attend.
type attend struct {
	d      *Device
	a      *device.Attention
	c      *cache
	sinks  []float32
	dst, q []float32
	rows   []device.Row
}

// Attend computes the attention of each row.
func (d *Device) Attend(dst device.Buffer, a *device.Attention, q device.Buffer, rows []device.Row) {
	c := a.Cache.(*cache)
	n := len(rows) * a.Heads * c.HeadSize
	op := &d.attend
	op.a, op.c, op.rows, op.sinks = a, c, rows, optional(a.Sinks)
	op.dst, op.q = floats(dst)[:n], floats(q)[:n]
	longest := 0
	for _, r := range rows {
		longest = max(longest, r.Sees)
	}
	for i := range d.scores { // doubled, so that a growing answer seldom grows it
		if len(d.scores[i]) < longest {
			d.scores[i] = make([]float32, 2*longest)
		}
	}
	d.pool.run(op)
}

// step takes a share of all (row, head) pairs, every other one, since later rows
// see more tokens.
func (op *attend) step(_ *barrier, thread, threads int) {
	for i := thread; i < len(op.rows)*op.a.Heads; i += threads {
		op.head(i/op.a.Heads, i%op.a.Heads, op.d.scores[thread])
	}
}

// head computes one query head of one row: scores page by page, softmax over all
// of them, values token after token.
func (op *attend) head(row, head int, scores []float32) {
	c, r := op.c, op.rows[row]
	first, kv := 0, head/(op.a.Heads/c.KVHeads)
	if op.a.Window > 0 {
		first = max(0, r.Pos+1-op.a.Window)
	}
	at := (row*op.a.Heads + head) * c.HeadSize
	q, out := op.q[at:][:c.HeadSize], op.dst[at:][:c.HeadSize]
	begin := first / c.PageTokens * c.PageTokens // the kernel takes pages from their start
	s := scores[:r.Sees-begin]
	for t := begin; t < r.Sees; t += c.PageTokens {
		k := c.keys[c.at(r.Pages[t/c.PageTokens], op.a.Layer, kv):]
		kernel.Scores(s[t-begin:min(r.Sees, t+c.PageTokens)-begin], q, k, c.PageTokens, op.a.Scale)
	}
	s = s[first-begin:]
	sum := op.softmax(s, head)
	clear(out)
	for t := first; t < r.Sees; {
		end := min(r.Sees, (t/c.PageTokens+1)*c.PageTokens)
		v := c.values[c.at(r.Pages[t/c.PageTokens], op.a.Layer, kv)+t%c.PageTokens*c.HeadSize:]
		kernel.Values(out, s[t-first:end-first], v)
		t = end
	}
	for d := range out {
		out[d] /= sum
	}
}

// softmax makes weights of a head's scores and returns their sum.
func (op *attend) softmax(s []float32, head int) float32 {
	if op.a.Cap != 0 {
		kernel.Squash(s, 1, op.a.Cap)
	}
	top := kernel.Max(s)
	if op.sinks == nil {
		return kernel.ExpSum(s, top)
	}
	sink := op.sinks[head]
	top = max(top, sink)
	return kernel.ExpSum(s, top) + kernel.Exp(sink-top)
}
