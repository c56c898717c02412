package fetch

import "slices"

// A span is the bytes from From up to but without To.
type span struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
}

// spans are bytes of a file: in order, none empty, none touching the next.
type spans []span

// valid tells whether s is in order, and within size bytes.
func (s spans) valid(size int64) bool {
	at := int64(-1)
	for _, p := range s {
		if p.From <= at || p.To <= p.From || p.To > size {
			return false
		}
		at = p.To
	}
	return true
}

// with returns s and p; s stays.
func (s spans) with(p span) spans {
	s = slices.Clone(s)
	if p.To <= p.From {
		return s
	}
	i, _ := slices.BinarySearchFunc(s, p.From, func(e span, from int64) int {
		if e.To < from {
			return -1
		}
		return 1
	})
	j := i
	for ; j < len(s) && s[j].From <= p.To; j++ {
		p.From, p.To = min(p.From, s[j].From), max(p.To, s[j].To)
	}
	return slices.Replace(s, i, j, p)
}

// front is how many bytes there are from the start without a gap.
func (s spans) front() int64 {
	if len(s) == 0 || s[0].From > 0 {
		return 0
	}
	return s[0].To
}

// bytes is how many there are in all.
func (s spans) bytes() (n int64) {
	for _, p := range s {
		n += p.To - p.From
	}
	return n
}

// end is where the last one ends.
func (s spans) end() int64 {
	if len(s) == 0 {
		return 0
	}
	return s[len(s)-1].To
}

// gaps are what is missing of size bytes, in order, in pieces of at most most bytes.
func (s spans) gaps(size, most int64) (all []span) {
	at := int64(0)
	for _, p := range append(slices.Clone(s), span{size, size}) {
		for ; at < p.From; at = min(at+most, p.From) {
			all = append(all, span{at, min(at+most, p.From)})
		}
		at = p.To
	}
	return all
}
