package model

import (
	"errors"
	"fmt"

	"rbee/inference/device"
)

// The errors of sequences.
var (
	ErrNoSlot      = errors.New("model: all slots are taken")
	ErrContextFull = errors.New("model: the sequence is longer than its context")
)

// A pages hands out the pages of the KV cache. Every slot's share is there from
// the start, so that a sequence never waits for memory.
type pages struct {
	free  []int32 // the last one is handed out next
	slots int     // that are not taken
}

// newPages numbers n pages. With a seed their order is shuffled, which must
// change nothing: tests use it.
func newPages(n, slots int, seed uint64) pages {
	p := pages{free: make([]int32, n), slots: slots}
	for i := range p.free {
		p.free[i] = int32(n - 1 - i)
	}
	for i := n - 1; seed != 0 && i > 0; i-- { // Fisher and Yates
		seed = seed*6364136223846793005 + 1442695040888963407
		j := int(seed >> 33 % uint64(i+1))
		p.free[i], p.free[j] = p.free[j], p.free[i]
	}
	return p
}

// A Sequence is one text in the cache: the tokens that Step was given for it. It
// belongs to the goroutine that calls Step.
type Sequence struct {
	m     *Model
	pages []int32
	len   int
	open  bool
}

// NewSequence takes a slot, or fails with ErrNoSlot. The caller closes it.
func (m *Model) NewSequence() (*Sequence, error) {
	if m.pages.slots == 0 {
		return nil, ErrNoSlot
	}
	m.pages.slots--
	return &Sequence{m: m, pages: make([]int32, 0, m.pagesPerSlot()), open: true}, nil
}

// Len is the number of tokens in the cache.
func (s *Sequence) Len() int { return s.len }

// Pages returns the numbers of the pages that hold the sequence, in their order.
func (s *Sequence) Pages() []int32 { return s.pages }

// Truncate forgets all tokens but the first n.
func (s *Sequence) Truncate(n int) {
	if n < 0 || n >= s.len {
		return
	}
	s.len = n
	keep := (n + s.m.pageTokens - 1) / s.m.pageTokens
	for len(s.pages) > keep {
		last := len(s.pages) - 1
		s.m.pages.free = append(s.m.pages.free, s.pages[last])
		s.pages = s.pages[:last]
	}
}

// Close gives the slot back. Closing twice is fine.
func (s *Sequence) Close() {
	if s.open {
		s.Truncate(0)
		s.open = false
		s.m.pages.slots++
	}
}

// reserve makes room for n more tokens.
func (s *Sequence) reserve(n int) error {
	if s.len+n > s.m.config.ContextLength {
		return fmt.Errorf("%w: %d tokens and %d more, room for %d", ErrContextFull, s.len, n, s.m.config.ContextLength)
	}
	for len(s.pages)*s.m.pageTokens < s.len+n {
		last := len(s.m.pages.free) - 1
		s.pages = append(s.pages, s.m.pages.free[last])
		s.m.pages.free = s.m.pages.free[:last]
	}
	return nil
}

func (m *Model) pagesPerSlot() int {
	return (m.config.ContextLength + m.pageTokens - 1) / m.pageTokens
}

// makeCache allocates the cache for all slots.
func (m *Model) makeCache(slots int, half bool, seed uint64) error {
	n := slots * m.pagesPerSlot()
	m.pages = newPages(n, slots, seed)
	c, err := m.dev.Cache(device.CacheShape{
		Layers: m.config.Layers, Pages: n, PageTokens: m.pageTokens,
		KVHeads: m.config.KVHeads, HeadSize: m.config.HeadSize, Half: half,
	})
	if err != nil {
		return fmt.Errorf("model: KV cache: %w", err)
	}
	m.cache = c
	m.memory += c.Bytes()
	return nil
}
