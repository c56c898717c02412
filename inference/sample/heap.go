package sample

// A candidate is a token that may be chosen: x is its logit below the best one's, w
// its weight.
type candidate struct {
	id int32
	x  float32
	w  float64
}

// before tells whether a comes before b: the likelier, of equal ones the lower id.
func (a candidate) before(b candidate) bool { return a.x > b.x || a.x == b.x && a.id < b.id }

// A heap has the first candidate at its root.
type heap []candidate

// build makes a heap of candidates in any order.
func (h heap) build() {
	for i := len(h)/2 - 1; i >= 0; i-- {
		h.down(i)
	}
}

// down moves the candidate at i to where it belongs.
func (h heap) down(i int) {
	for c := h[i]; ; {
		child := 2*i + 1
		if child >= len(h) {
			return
		}
		if child+1 < len(h) && h[child+1].before(h[child]) {
			child++
		}
		if !h[child].before(c) {
			return
		}
		h[i], h[child] = h[child], c
		i = child
	}
}

// pop takes the first candidate away.
func (h *heap) pop() candidate {
	old := *h
	first, last := old[0], len(old)-1
	old[0] = old[last]
	*h = old[:last]
	if last > 1 {
		h.down(0)
	}
	return first
}
