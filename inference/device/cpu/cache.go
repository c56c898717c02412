package cpu

import (
	"fmt"

	"rbee/inference/device"
	"rbee/inference/kernel"
)

// A cache is (pages, layers, heads) blocks of keys and of values. In a page the keys of
// a head are (HeadSize, PageTokens), so that the scores of neighbouring tokens lie side
// by side; its values are (PageTokens, HeadSize).
type cache struct {
	device.CacheShape
	keys, values kernel.Lines
	line         []kernel.Lines // the keys of a head, of each thread
}

func (c *cache) Bytes() int64 { return c.keys.Bytes() + c.values.Bytes() }

// Cache makes room for the keys and values of pages × PageTokens tokens.
func (d *Device) Cache(s device.CacheShape) (device.Cache, error) {
	n := s.Pages * s.Layers * s.KVHeads * s.PageTokens * s.HeadSize
	if n <= 0 {
		return nil, fmt.Errorf("cpu: a cache of shape %+v", s)
	}
	c := &cache{CacheShape: s, keys: kernel.MakeLines(n, s.Half), values: kernel.MakeLines(n, s.Half)}
	for range d.pool.threads {
		c.line = append(c.line, kernel.MakeLines(s.HeadSize, s.Half))
	}
	return c, nil
}

// at is where the block of a head begins, in keys and in values.
func (c *cache) at(page int32, layer, head int) int {
	return ((int(page)*c.Layers+layer)*c.KVHeads + head) * c.PageTokens * c.HeadSize
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
			at, line := c.at(page, op.a.Layer, h), c.line[thread]
			line.Set(0, keys[h*c.HeadSize:][:c.HeadSize])
			c.keys.Spread(at+slot, c.PageTokens, line)
			c.values.Set(at+slot*c.HeadSize, op.v[(i*c.KVHeads+h)*c.HeadSize:][:c.HeadSize])
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
