package tokenizer

// A symbol is a piece of a text under way to becoming tokens: bytes from start
// to end, linked with its neighbours, -1 where there is none. It is empty when
// it was merged into the one before it.
type symbol struct {
	start, end int32
	prev, next int32
	hash       uint64 // of the piece, when the join wants it
}

// A candidate is a pair of neighbours that may become one.
type candidate struct {
	rank        uint32 // the lowest is merged first; of equal ones the leftmost
	left, right int32
	size        int32 // of both together, to see whether one has changed
}

func (a candidate) before(b candidate) bool {
	return a.rank < b.rank || a.rank == b.rank && a.left < b.left
}

// A merger joins symbols. It is used again and again, for the sake of its memory.
type merger struct {
	syms  []symbol
	queue heap
}

// A joint decides what is merged.
type joint interface {
	// rank returns when two neighbours are merged, and whether they are at all.
	rank(a, b *symbol) (uint32, bool)
	// joined is called when a has become both.
	joined(a *symbol)
}

// add appends a symbol behind the others.
func (m *merger) add(start, end int, hash uint64) {
	n := int32(len(m.syms))
	if n > 0 {
		m.syms[n-1].next = n
	}
	m.syms = append(m.syms, symbol{int32(start), int32(end), n - 1, -1, hash})
}

// merge joins neighbouring symbols, the best pair first, until none is left that
// may be joined. It takes n·log(n) steps for n symbols.
func (m *merger) merge(j joint) {
	m.queue = m.queue[:0]
	for i := 1; i < len(m.syms); i++ {
		m.try(j, int32(i-1), int32(i))
	}
	for len(m.queue) > 0 {
		c := m.queue.pop()
		a, b := &m.syms[c.left], &m.syms[c.right]
		if a.start == a.end || b.start == b.end || b.end-a.start != c.size || a.next != c.right {
			continue // one of them was merged meanwhile
		}
		a.end, a.next = b.end, b.next
		b.start = b.end
		if b.next >= 0 {
			m.syms[b.next].prev = c.left
		}
		j.joined(a)
		m.try(j, a.prev, c.left)
		m.try(j, c.left, a.next)
	}
}

func (m *merger) try(j joint, left, right int32) {
	if left < 0 || right < 0 {
		return
	}
	a, b := &m.syms[left], &m.syms[right]
	if rank, ok := j.rank(a, b); ok {
		m.queue.push(candidate{rank, left, right, b.end - a.start})
	}
}

// A heap is a binary heap of candidates.
type heap []candidate

func (h *heap) push(c candidate) {
	*h = append(*h, c)
	q := *h
	for i := len(q) - 1; i > 0; {
		up := (i - 1) / 2
		if !q[i].before(q[up]) {
			return
		}
		q[i], q[up] = q[up], q[i]
		i = up
	}
}

func (h *heap) pop() candidate {
	q := *h
	top, last := q[0], len(q)-1
	q[0] = q[last]
	*h = q[:last]
	q = q[:last]
	for i := 0; ; {
		small := i
		for _, down := range [2]int{2*i + 1, 2*i + 2} {
			if down < len(q) && q[down].before(q[small]) {
				small = down
			}
		}
		if small == i {
			return top
		}
		q[i], q[small] = q[small], q[i]
		i = small
	}
}
