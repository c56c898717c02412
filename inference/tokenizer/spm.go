package tokenizer

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"unicode/utf8"
)

// space is how SPM writes a space.
const space = "\u2581"

// spm is SentencePiece's BPE: characters are merged to the token of the highest
// score, again and again; what is no token then is spelt in bytes.
type spm struct {
	v      *vocab
	ranks  []uint32 // of the tokens, by score: the lowest is merged first
	bytes  [256]int32
	prefix bool // a space is put in front
	none   int32

	scratch sync.Pool
}

// spmWork is what one call needs.
type spmWork struct {
	merger
	p    *spm
	text []byte
}

func newSPM(v *vocab, c *Config) (*spm, error) {
	if len(c.Scores) != v.len() {
		return nil, fmt.Errorf("tokenizer: tokenizer.ggml.scores: %d scores for %d tokens", len(c.Scores), v.len())
	}
	p := &spm{v: v, ranks: make([]uint32, v.len()), prefix: c.AddSpacePrefix, none: c.id("unknown")}
	for i, score := range c.Scores {
		if score != score {
			return nil, fmt.Errorf("tokenizer: tokenizer.ggml.scores: the score of token %d is no number", i)
		}
		p.ranks[i] = ^ascending(score)
	}
	p.bytes = v.byteTokens(true)
	p.scratch.New = func() any { return &spmWork{p: p} }
	return p, nil
}

// ascending maps floats to integers of the same order.
func ascending(f float32) uint32 {
	bits := math.Float32bits(f + 0) // -0 is 0
	if bits>>31 != 0 {
		return ^bits
	}
	return bits | 1<<31
}

func (p *spm) encode(ids []int32, text string, first bool) []int32 {
	w := p.scratch.Get().(*spmWork)
	defer p.scratch.Put(w)
	w.text, w.syms = w.text[:0], w.syms[:0]
	if first && p.prefix {
		w.text = append(w.text, space...)
	}
	w.text = appendSpaced(w.text, text)
	for i := 0; i < len(w.text); {
		_, n := utf8.DecodeRune(w.text[i:])
		w.add(i, i+n, 0)
		i += n
	}
	w.merge(w)
	for _, y := range w.syms {
		if y.start == y.end {
			continue // merged into one before it
		}
		piece := w.text[y.start:y.end]
		if id := p.v.lookup(piece); id != None {
			ids = append(ids, id)
			continue
		}
		for _, b := range piece { // what is no token is spelt
			if id := p.bytes[b]; id != None {
				ids = append(ids, id)
			} else if p.none != None {
				ids = append(ids, p.none)
			}
		}
	}
	return ids
}

// appendSpaced appends a text with ▁ for its spaces.
func appendSpaced(to []byte, text string) []byte {
	for {
		before, after, found := strings.Cut(text, " ")
		to = append(to, before...)
		if !found {
			return to
		}
		to, text = append(to, space...), after
	}
}

func (w *spmWork) rank(a, b *symbol) (uint32, bool) {
	id := w.p.v.lookup(w.text[a.start:b.end])
	if id == None {
		return 0, false
	}
	return w.p.ranks[id], true
}

func (w *spmWork) joined(*symbol) {}

func (p *spm) piece(text string) []byte { return unspaced(text) }

// unspaced is a text with spaces for its ▁.
func unspaced(text string) []byte { return []byte(strings.ReplaceAll(text, space, " ")) }
