package cpu

import (
	"fmt"
	"slices"

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

// embed is Device.Embed and Device.Gather.
type embed struct {
	dst, x  []float32
	table   *table
	width   int
	columns []int32
}

// Embed looks up the rows of tokens.
func (d *Device) Embed(dst device.Buffer, t device.Table, tokens []int32) {
	tab := t.(*table)
	d.embed = embed{dst: floats(dst)[:len(tokens)*tab.cols], table: tab, width: tab.cols, columns: tokens}
	d.pool.run(&d.embed)
}

// Gather copies the columns of x.
func (d *Device) Gather(dst, x device.Buffer, width int, columns []int32) {
	d.embed = embed{dst: floats(dst)[:len(columns)*width], x: floats(x), width: width, columns: columns}
	d.pool.run(&d.embed)
}

func (op *embed) step(_ *barrier, thread, threads int) {
	from, to := share(len(op.columns), thread, threads)
	for i := from; i < to; i++ {
		dst := op.dst[i*op.width:][:op.width]
		if op.table != nil {
			op.table.row(dst, op.columns[i])
		} else {
			copy(dst, op.x[int(op.columns[i])*op.width:])
		}
	}
}

// store is Device.Store.
type store struct {
	d              *Device
	c              *cache
	layer, heads   int
	q, k, v, turns []float32
	turn           int // values per position in turns
	rows           []device.Row
}

// Store turns queries and keys and fills the cache.
func (d *Device) Store(a device.Attention, q, k, v, turns device.Buffer, pairs int, rows []device.Row) {
	c := a.Cache.(*cache)
	n := len(rows)
	op := &d.store
	op.c, op.layer, op.heads, op.turn, op.rows = c, a.Layer, a.Heads, 2*pairs, rows
	op.q, op.turns = floats(q)[:n*a.Heads*c.HeadSize], floats(turns)
	op.k, op.v = floats(k)[:n*c.KVHeads*c.HeadSize], floats(v)[:n*c.KVHeads*c.HeadSize]
	d.pool.run(op)
}

func (op *store) step(_ *barrier, thread, threads int) {
	c := op.c
	from, to := share(len(op.rows), thread, threads)
	for i := from; i < to; i++ {
		pos := op.rows[i].Pos
		turn := op.turns[pos*op.turn:][:op.turn]
		for h := range op.heads {
			kernel.RopePairs(op.q[(i*op.heads+h)*c.HeadSize:][:c.HeadSize], turn)
		}
		page, slot := op.rows[i].Pages[pos/c.PageTokens], pos%c.PageTokens
		for h := range c.KVHeads {
			k := op.k[(i*c.KVHeads+h)*c.HeadSize:][:c.HeadSize]
			kernel.RopePairs(k, turn)
			at := c.at(page, op.layer, h)
			for d, x := range k {
				c.keys[at+d*c.PageTokens+slot] = x
			}
			copy(c.values[at+slot*c.HeadSize:][:c.HeadSize], op.v[(i*c.KVHeads+h)*c.HeadSize:])
		}
	}
}

// attend is Device.Attend.
type attend struct {
	d            *Device
	c            *cache
	layer, heads int
	scale        float32
	dst, q       []float32
	rows         []device.Row
}

// Attend computes the attention of each row.
func (d *Device) Attend(dst device.Buffer, a device.Attention, q device.Buffer, rows []device.Row) {
	c := a.Cache.(*cache)
	n := len(rows) * a.Heads * c.HeadSize
	op := &d.attend
	op.c, op.layer, op.heads, op.scale, op.rows = c, a.Layer, a.Heads, a.Scale, rows
	op.dst, op.q = floats(dst)[:n], floats(q)[:n]
	longest := 0
	for _, r := range rows {
		longest = max(longest, r.Pos+1)
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
	for i := thread; i < len(op.rows)*op.heads; i += threads {
		op.head(i/op.heads, i%op.heads, op.d.scores[thread])
	}
}

// head computes one query head of one row: scores page by page, softmax over all
// of them, values token after token.
func (op *attend) head(row, head int, scores []float32) {
	c, r := op.c, op.rows[row]
	n, kv := r.Pos+1, head/(op.heads/c.KVHeads)
	at := (row*op.heads + head) * c.HeadSize
	q, out := op.q[at:][:c.HeadSize], op.dst[at:][:c.HeadSize]
	s := scores[:n]
	for t := 0; t < n; t += c.PageTokens {
		k := c.keys[c.at(r.Pages[t/c.PageTokens], op.layer, kv):]
		kernel.Scores(s[t:min(n, t+c.PageTokens)], q, k, c.PageTokens, op.scale)
	}
	sum := kernel.ExpSum(s, slices.Max(s))
	clear(out)
	for t := 0; t < n; t += c.PageTokens {
		v := c.values[c.at(r.Pages[t/c.PageTokens], op.layer, kv):]
		kernel.Values(out, s[t:min(n, t+c.PageTokens)], v)
	}
	for d := range out {
		out[d] /= sum
	}
}
