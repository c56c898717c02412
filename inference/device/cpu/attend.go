package cpu

import (
	"math"

	"rbee/inference/device"
	"rbee/inference/kernel"
)

// attend is Device.Attend. Queries that share keys and values, those of a group of
// heads and of neighbouring rows, are taken together in tiles, so that a page is read
// once for all of a tile. Each query is computed by the same sums, in the same order,
// as if it were alone.
type attend struct {
	d      *Device
	a      *device.Attention
	c      *cache
	sinks  []float32
	dst, q []float32
	rows   []device.Row
	group  int    // queries of a row for one head of keys
	width  int    // of a query's scores: the longest row, in whole pages
	few    bool   // fewer tiles than threads: all threads share each of them
	tiles  []tile // of each thread, while it is under way
	views  []view // of each thread
}

// A view is what of a tile a kernel is given.
type view struct{ out, weights [kernel.Queries][]float32 }

// A tile is up to kernel.Queries neighbouring queries of one head of keys and one
// sequence: query i of a head is that of row i/group.
type tile struct {
	kv, first, n int

	pages    []int32
	begin    int // the first token of the scores, at the start of a page
	end      int // the end of the longest query
	from, to [kernel.Queries]int
	q, out   [kernel.Queries][]float32
	scores   [kernel.Queries][]float32 // from begin on
	sums     [kernel.Queries]float32
}

// Attend computes the attention of each row.
func (d *Device) Attend(dst device.Buffer, a *device.Attention, q device.Buffer, rows []device.Row) {
	c := a.Cache.(*cache)
	n := len(rows) * a.Heads * c.HeadSize
	op := &d.attend
	op.a, op.c, op.rows, op.sinks = a, c, rows, optional(a.Sinks)
	op.dst, op.q = floats(dst)[:n], floats(q)[:n]
	op.group = a.Heads / c.KVHeads
	longest := 0
	for _, r := range rows {
		longest = max(longest, r.Sees)
	}
	op.width = (longest + c.PageTokens - 1) / c.PageTokens * c.PageTokens
	op.few = c.KVHeads*((len(rows)*op.group+kernel.Queries-1)/kernel.Queries) < d.pool.threads
	op.tiles, op.views = grow(op.tiles, d.pool.threads), grow(op.views, d.pool.threads)
	for i := range op.tiles {
		op.tiles[i].grow(op.width + lanes)
	}
	d.pool.run(op)
}

// grow makes room for scores; doubled, so that a growing answer seldom grows it.
func (t *tile) grow(width int) {
	for i := range t.scores {
		if len(t.scores[i]) < width {
			t.scores[i] = make([]float32, 2*width)
		}
	}
}

// step takes every other tile, since later rows see more tokens. When there are too
// few, the threads share the pages of each, and then the dimensions.
func (op *attend) step(b *barrier, thread, threads int) {
	if op.few {
		op.together(b, thread, threads)
		return
	}
	t, v := &op.tiles[thread], &op.views[thread]
	for i := 0; op.next(t, i == 0); i++ {
		if i%threads != thread {
			continue
		}
		op.load(t)
		op.score(t, v, t.begin, t.end)
		for j := range t.n {
			t.sums[j] = op.softmax(t, j)
		}
		op.gather(t, v, 0, op.c.HeadSize)
	}
}

// together computes each tile with all threads. The tile is the first thread's.
func (op *attend) together(b *barrier, thread, threads int) {
	t, v, page, dim := &op.tiles[0], &op.views[thread], op.c.PageTokens, op.c.HeadSize
	for i := 0; ; i++ {
		b.wait() // nobody uses the one before any more
		if thread == 0 {
			if op.next(t, i == 0) {
				op.load(t)
			} else {
				t.n = 0
			}
		}
		b.wait()
		if t.n == 0 {
			return
		}
		from, to := share((t.end-t.begin+page-1)/page, thread, threads)
		op.score(t, v, t.begin+from*page, min(t.begin+to*page, t.end))
		b.wait()
		for j := thread; j < t.n; j += threads {
			t.sums[j] = op.softmax(t, j)
		}
		b.wait()
		from, to = share(dim/lanes, thread, threads)
		if from, to = from*lanes, to*lanes; thread == threads-1 {
			to = dim
		}
		op.gather(t, v, from, to)
	}
}

// next makes t the tile after it, or the first one, and tells whether there is one.
func (op *attend) next(t *tile, first bool) bool {
	all := len(op.rows) * op.group
	if first {
		t.kv, t.first, t.n = 0, 0, 0
	}
	if t.first += t.n; t.first == all {
		t.kv, t.first = t.kv+1, 0
	}
	if t.kv == op.c.KVHeads {
		return false
	}
	t.n = 1
	pages := op.rows[t.first/op.group].Pages
	for t.n < kernel.Queries && t.first+t.n < all && same(op.rows[(t.first+t.n)/op.group].Pages, pages) {
		t.n++
	}
	return true
}

// same tells whether rows are of one sequence.
func same(a, b []int32) bool { return &a[0] == &b[0] }

// load finds the queries of a tile, and what they see.
func (op *attend) load(t *tile) {
	size := op.c.HeadSize
	t.begin, t.end = math.MaxInt, 0
	for j := range t.n {
		i := t.first + j
		row := op.rows[i/op.group]
		t.from[j], t.to[j], t.pages = 0, row.Sees, row.Pages
		if op.a.Window > 0 {
			t.from[j] = max(0, row.Pos+1-op.a.Window)
		}
		t.begin, t.end = min(t.begin, t.from[j]), max(t.end, t.to[j])
		at := (i/op.group*op.a.Heads + t.kv*op.group + i%op.group) * size
		t.q[j], t.out[j] = op.q[at:][:size], op.dst[at:][:size]
	}
	t.begin = t.begin / op.c.PageTokens * op.c.PageTokens
}

// score computes the scores of whole pages, from the start of one.
func (op *attend) score(t *tile, v *view, from, to int) {
	page := op.c.PageTokens
	for at := from; at < to; at += page {
		k := op.c.keys.From(op.c.at(t.pages[at/page], op.a.Layer, t.kv))
		for j := range t.n {
			v.out[j] = t.scores[j][at-t.begin:][:page]
		}
		n := min(page, (to-at+15)&^15) // the others are of tokens to come, and are not looked at
		kernel.Scores(v.out[:t.n], t.q[:t.n], k, page, n, op.a.Scale)
	}
}

// gather sets the dimensions from..to of what comes out to the values by their
// weights. What not all queries of the tile see is added for each by itself.
func (op *attend) gather(t *tile, v *view, from, to int) {
	c, page := op.c, op.c.PageTokens
	for j := range t.n {
		clear(t.out[j][from:to])
	}
	for at := t.begin; at < t.end; at += page {
		values := c.values.From(c.at(t.pages[at/page], op.a.Layer, t.kv) + from)
		first, last := at, min(at+page, t.end) // that all see
		for j := range t.n {
			first, last = max(first, t.from[j]), min(last, t.to[j])
		}
		last = max(first, last)
		add := func(j, n, a, b int) {
			if a = max(a, at, t.from[j]); a >= b {
				return
			}
			for i := j; i < j+n; i++ {
				v.out[i], v.weights[i] = t.out[i][from:to], t.scores[i][a-t.begin:b-t.begin]
			}
			kernel.Values(v.out[j:j+n], v.weights[j:j+n], values.From((a-at)*c.HeadSize), c.HeadSize)
		}
		for j := range t.n {
			add(j, 1, at, min(first, t.to[j], at+page))
		}
		add(0, t.n, first, last)
		for j := range t.n {
			add(j, 1, last, min(t.to[j], at+page))
		}
	}
	for j := range t.n {
		for d := range t.out[j][from:to] {
			t.out[j][from+d] /= t.sums[j]
		}
	}
}

// softmax makes weights of the scores of query j and returns their sum.
func (op *attend) softmax(t *tile, j int) float32 {
	s := t.scores[j][t.from[j]-t.begin : t.to[j]-t.begin]
	if op.a.Cap != 0 {
		kernel.Squash(s, 1, op.a.Cap)
	}
	top := kernel.Max(s)
	s = whole(s)
	if op.sinks == nil {
		return kernel.ExpSum(s, top)
	}
	sink := op.sinks[t.kv*op.group+(t.first+j)%op.group]
	top = max(top, sink)
	return kernel.ExpSum(s, top) + kernel.Exp(sink-top)
}

// lanes is how many values the widest register holds.
const lanes = 16

// whole lengthens scores to whole registers, by some whose weight is 0.
func whole(s []float32) []float32 {
	for i := len(s); i%lanes != 0; i++ {
		s = append(s, float32(math.Inf(-1)))
	}
	return s
}
