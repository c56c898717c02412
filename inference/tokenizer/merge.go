package tokenizer

// A symbol is a piece of a text under way to becoming tokens: bytes from start
// to end, linked with its neighbours, -1 where there is none.
type symbol struct {
	start, end int
	prev, next int
	id         int32 // of the piece; None when it is none
}

// A candidate is a pair of neighbours that may become one.
type candidate struct {
	rank        float64 // the lowest is merged first; of equal ones the leftmost
	left, right int
	size        int // of both together, to see whether one has changed
	id          int32
}

func (a candidate) before(b candidate) bool {
	return a.rank < b.rank || a.rank == b.rank && a.left < b.left
}

// merge joins neighbouring symbols, the best pair first, until none is left that
// join knows. It takes n·log(n) steps for n symbols. join returns what a pair
// becomes.
func merge(syms []symbol, join func(a, b *symbol) (id int32, rank float64, ok bool)) {
	var queue heap
	try := func(left, right int) {
		if left < 0 || right < 0 {
			return
		}
		a, b := &syms[left], &syms[right]
		if id, rank, ok := join(a, b); ok {
			queue.push(candidate{rank, left, right, b.end - a.start, id})
		}
	}
	for i := range len(syms) - 1 {
		try(i, i+1)
	}
	for len(queue) > 0 {
		c := queue.pop()
		a, b := &syms[c.left], &syms[c.right]
		if a.start == a.end || b.start == b.end || b.end-a.start != c.size || a.next != c.right {
			continue // one of them was merged meanwhile
		}
		a.end, a.id, a.next = b.end, c.id, b.next
		b.start = b.end
		if b.next >= 0 {
			syms[b.next].prev = c.left
		}
		try(a.prev, c.left)
		try(c.left, a.next)
	}
}

// link connects the symbols in their order.
func link(syms []symbol) {
	for i := range syms {
		syms[i].prev, syms[i].next = i-1, i+1
	}
	if len(syms) > 0 {
		syms[len(syms)-1].next = -1
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
