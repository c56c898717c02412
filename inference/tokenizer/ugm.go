package tokenizer

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"sync"
	"unicode/utf8"
)

// penalty is how much less likely an unknown character is than the least likely token.
const penalty = 10

// ugm is SentencePiece's unigram model: of all the ways to take a text apart,
// the one with the highest sum of scores.
type ugm struct {
	v       *vocab
	scores  []float32
	charmap charmap
	unk     int32
	unknown float32 // the score of an unknown character
	prefix  bool    // a space is put in front
	single  bool    // blanks in a row are one, and none at the ends

	lists   sync.Once
	tokens  *sorted // that a text is taken apart into
	defined *sorted // that are left as they are
	scratch sync.Pool
}

// ugmWork is what one call needs.
type ugmWork struct {
	text []byte
	best []arrival // at each byte of text, and its end
}

// An arrival is the best way to a place in the text: its last token, where that
// begins, and the sum of the scores.
type arrival struct {
	id    int32
	from  int32
	score float64
}

func newUGM(v *vocab, c *Config) (*ugm, error) {
	if len(c.Scores) != v.len() {
		return nil, fmt.Errorf("tokenizer: tokenizer.ggml.scores: %d scores for %d tokens", len(c.Scores), v.len())
	}
	p := &ugm{v: v, scores: c.Scores, unk: c.id("unknown"), prefix: c.AddSpacePrefix, single: c.RemoveExtraSpaces}
	var err error
	if p.charmap, err = newCharmap(c.CharsMap); err != nil {
		return nil, err
	}
	least := float32(math.MaxFloat32)
	for i, score := range c.Scores {
		if score != score {
			return nil, fmt.Errorf("tokenizer: tokenizer.ggml.scores: the score of token %d is no number", i)
		}
		if v.attrs[i]&normal != 0 {
			least = min(least, score)
		}
	}
	p.unknown = least - penalty
	p.scratch.New = func() any { return new(ugmWork) }
	return p, nil
}

// sort makes the lists when the first text comes.
func (p *ugm) sort() {
	p.tokens = newSorted(p.v, func(a attr) bool { return a&(normal|userDefined|unused) != 0 })
	p.defined = newSorted(p.v, func(a attr) bool { return a&userDefined != 0 })
}

func (p *ugm) encode(ids []int32, text string, _ bool) []int32 {
	p.lists.Do(p.sort)
	w := p.scratch.Get().(*ugmWork)
	defer p.scratch.Put(w)
	w.text = p.normalize(w.text[:0], text)
	if len(w.text) == 0 {
		return ids
	}
	p.search(w)
	start := len(ids)
	unknown := false // the token behind, of which only one is kept
	for at := int32(len(w.text)); at > 0; {
		a := w.best[at]
		if none := a.id == p.unk; !none || !unknown {
			ids = append(ids, a.id)
			unknown = none
		}
		at = a.from
	}
	for i, j := start, len(ids)-1; i < j; i, j = i+1, j-1 {
		ids[i], ids[j] = ids[j], ids[i]
	}
	return ids
}

// search fills in the best arrivals, from left to right.
func (p *ugm) search(w *ugmWork) {
	w.best = w.best[:0]
	for range len(w.text) + 1 {
		w.best = append(w.best, arrival{p.unk, 0, -math.MaxFloat64})
	}
	w.best[0].score = 0
	for at := 0; at < len(w.text); {
		size := min(utf8Size(w.text[at]), len(w.text)-at)
		here, whole := w.best[at].score, false
		arrive := func(id int32, n int, score float64) {
			if a := &w.best[at+n]; here+score > a.score {
				*a = arrival{id, int32(at), here + score}
			}
		}
		p.tokens.walk(w.text[at:], func(k, n int) {
			id := p.tokens.ids[k]
			whole = whole || n == size
			if p.v.attrs[id]&userDefined != 0 {
				arrive(id, n, 0)
			} else {
				arrive(id, n, float64(p.scores[id]))
			}
		})
		if !whole {
			arrive(p.unk, size, float64(p.unknown))
		}
		at += size
	}
}

// utf8Size is the length of a character by its first byte.
func utf8Size(b byte) int {
	switch {
	case b < 0xc0:
		return 1
	case b < 0xe0:
		return 2
	case b < 0xf0:
		return 3
	}
	return 4
}

// normalize appends a text with its characters mapped and its spaces written ▁.
func (p *ugm) normalize(to []byte, text string) []byte {
	in := []byte(text)
	begun, word := false, false // a space was put in front, within a word
	for at := 0; at < len(in); {
		part, n := p.prefixOf(in[at:])
		for i := range len(part) {
			switch {
			case part[i] == ' ':
				word = false
				if !p.single {
					to = append(to, space...)
				}
				continue
			case !word && (p.single || p.prefix && !begun):
				to = append(to, space...)
				begun = true
			}
			word = true
			to = append(to, part[i])
		}
		at += n
	}
	return to
}

var replacement = []byte("\ufffd")

// prefixOf returns what the beginning of a text is mapped to, and how much of it.
func (p *ugm) prefixOf(in []byte) (part []byte, n int) {
	if n = p.defined.walk(in, func(int, int) {}); n > 0 {
		return in[:n], n // as much as the beginning of a token, as llama.cpp does
	}
	if part, n = p.charmap.match(in); n > 0 {
		return part, n
	}
	r, n := utf8.DecodeRune(in)
	if r == utf8.RuneError && n == 1 {
		return replacement, 1
	}
	return in[:n], n
}

func (p *ugm) piece(text string) []byte { return unspaced(text) }

// A charmap is SentencePiece's precompiled map of characters: a tree in a double
// array, whose leaves point to texts that end with a zero.
type charmap struct {
	nodes []byte // four bytes each, little-endian
	texts []byte
}

// longestMapped is how much a character may become, in bytes; in T5's map the
// longest is 33. It bounds what a text grows to.
const longestMapped = 1 << 10

func newCharmap(data []byte) (charmap, error) {
	if len(data) == 0 {
		return charmap{}, nil
	}
	bad := func(what string) (charmap, error) {
		return charmap{}, fmt.Errorf("tokenizer: tokenizer.ggml.precompiled_charsmap: %s", what)
	}
	if len(data) < 4 {
		return bad(fmt.Sprintf("%d bytes are too few for its size", len(data)))
	}
	size := uint64(binary.LittleEndian.Uint32(data))
	switch {
	case size+4 >= uint64(len(data)):
		return bad(fmt.Sprintf("its tree has %d bytes, %d are left: it is cut off", size, len(data)-4))
	case size%4 != 0 || size == 0:
		return bad(fmt.Sprintf("its tree has %d bytes, no nodes of four", size))
	case data[len(data)-1] != 0:
		return bad("its last text has no end: it is cut off")
	}
	m := charmap{data[4 : 4+size], data[4+size:]}
	for text := range bytes.SplitSeq(m.texts, []byte{0}) {
		if len(text) > longestMapped {
			return bad(fmt.Sprintf("a character becomes %d bytes, at most %d", len(text), longestMapped))
		}
	}
	return m, nil
}

// match returns what the longest known beginning of a text is mapped to, and its
// length, 0 when there is none.
func (m charmap) match(in []byte) (text []byte, n int) {
	node := func(i uint32) (uint32, bool) {
		if uint64(i)*4 >= uint64(len(m.nodes)) {
			return 0, false
		}
		return binary.LittleEndian.Uint32(m.nodes[i*4:]), true
	}
	base := func(n uint32) uint32 { return n >> 10 << (n & (1 << 9) >> 6) }
	root, ok := node(0)
	at := base(root)
	for i, c := range in {
		if !ok || c == 0 {
			break
		}
		at ^= uint32(c)
		here, there := node(at)
		if !there || here&(1<<31|0xff) != uint32(c) {
			break
		}
		at ^= base(here)
		if here>>8&1 == 0 {
			continue
		}
		leaf, there := node(at)
		start := leaf & (1<<31 - 1)
		if !there || uint64(start) >= uint64(len(m.texts)) {
			break
		}
		text, n = m.texts[start:], i+1
	}
	if n == 0 {
		return nil, 0
	}
	return text[:bytes.IndexByte(text, 0)], n
}
