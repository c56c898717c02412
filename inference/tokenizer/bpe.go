package tokenizer

import (
	"fmt"
	"hash/maphash"
	"math/bits"
	"strings"
	"sync"
	"unicode/utf8"

	"rbee/inference/gguf"
)

// bpe is BPE by ranks: the text is split into words, each byte of a word is a
// character of its own (or, when raw, each character is), and neighbours are
// merged in the order of the merges.
type bpe struct {
	pre
	v      *vocab
	steps  []step
	merges gguf.Texts
	ranks  index       // of the merges
	chars  [256]string // how a byte is written
	hashes [256]uint64 // of what is written
	bytes  [256]int32  // the tokens for what merged to no token
	words  bool        // each word between blanks is a text of its own
	fold   bool        // in lower case; of words

	scratch sync.Pool
}

// bpeWork is what one call needs.
type bpeWork struct {
	merger
	scan
	p    *bpe
	word []byte // as the vocabulary writes it
}

// byteRunes is GPT-2's writing of bytes as printable characters: itself for what
// is visible in Latin-1, else 256 and up in turn. runeBytes is the way back.
var byteRunes, runeBytes = func() (to [256]rune, from [0x144]int16) {
	for i := range from {
		from[i] = -1
	}
	next := rune(256)
	for b := range 256 {
		r := rune(b)
		if visible := b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae; !visible {
			r = next
			next++
		}
		to[b], from[r] = r, int16(b)
	}
	return to, from
}()

func newBPE(v *vocab, c *Config) (*bpe, error) {
	kind, err := findPre(c.Pre)
	if err != nil {
		return nil, err
	}
	p := &bpe{pre: kind, v: v, steps: kind.steps(), merges: c.Merges, words: c.Model == "whitespace", fold: c.Lowercase}
	seed := v.ids.seed
	for b, r := range byteRunes {
		p.chars[b] = string(r)
		p.hashes[b] = maphash.String(seed, p.chars[b])
	}
	if p.raw {
		p.bytes = v.byteTokens(false)
	} else {
		for b := range p.bytes {
			p.bytes[b] = v.find(string([]byte{byte(b)}))
		}
	}
	bad := -1
	p.ranks = newIndex(c.Merges.Len(), seed, func(i int) (uint64, bool) {
		left, right, ok := cutMerge(c.Merges.At(i))
		if !ok && bad < 0 {
			bad = i
		}
		return pair(maphash.String(seed, left), maphash.String(seed, right)), ok
	})
	if bad >= 0 {
		return nil, fmt.Errorf("tokenizer: tokenizer.ggml.merges: merge %d is %.40q, want two texts with a space between", bad, c.Merges.At(bad))
	}
	p.scratch.New = func() any { return &bpeWork{p: p} }
	return p, nil
}

// cutMerge takes "left right" apart. The left one may begin with a space.
func cutMerge(m string) (left, right string, ok bool) {
	if len(m) < 3 {
		return "", "", false
	}
	at := strings.IndexByte(m[1:], ' ') + 1
	if at < 1 || at == len(m)-1 {
		return "", "", false
	}
	return m[:at], m[at+1:], true
}

// pair is the hash of two texts by theirs.
func pair(left, right uint64) uint64 {
	hi, lo := bits.Mul64(left^0x9e3779b97f4a7c15, bits.RotateLeft64(right, 29)|1)
	return hi ^ lo ^ right
}

func (p *bpe) encode(ids []int32, text string, _ bool) []int32 {
	w := p.scratch.Get().(*bpeWork)
	defer p.scratch.Put(w)
	if !p.words {
		return w.encode(ids, text)
	}
	fold := func(r rune) rune { return r }
	if p.fold {
		fold = toLower
	}
	for _, word := range strings.FieldsFunc(text, isBlank) {
		ids = w.encode(ids, strings.Map(fold, word))
	}
	return ids
}

func (w *bpeWork) encode(ids []int32, text string) []int32 {
	if w.p.meta {
		text = strings.ReplaceAll(text, " ", space)
	}
	w.read(text)
	at := 0
	w.split(w.p.steps, func(from, to int) {
		end := at
		for _, r := range w.runes[from:to] {
			end += width(r)
		}
		ids = w.part(ids, text[at:end])
		at = end
	})
	return ids
}

// part appends the ids of what the splits have left together. Where words are
// marked it is cut once more: each ▁ begins a word, and so does each line, to
// which one is given.
func (w *bpeWork) part(ids []int32, text string) []int32 {
	if !w.p.marked || text[0] == '\n' {
		return w.one(ids, text)
	}
	text = strings.TrimPrefix(text, space)
	for {
		before, after, found := strings.Cut(text, space)
		ids = w.one(ids, space+before)
		if !found {
			return ids
		}
		text = after
	}
}

// one appends the ids of one word.
func (w *bpeWork) one(ids []int32, text string) []int32 {
	p := w.p
	w.word, w.syms = w.word[:0], w.syms[:0]
	if p.raw {
		w.word = append(w.word, text...)
	} else {
		for i := range len(text) {
			w.word = append(w.word, p.chars[text[i]]...)
		}
	}
	if p.whole || p.feeds && text[0] == '\n' {
		if id := p.v.lookup(w.word); id != None {
			return append(ids, id)
		}
	}
	w.start(text)
	w.merge(w)
	for _, y := range w.syms {
		if y.start == y.end {
			continue
		}
		piece := w.word[y.start:y.end]
		if id := p.v.hashed(y.hash, piece); id != None {
			ids = append(ids, id)
			continue
		}
		for _, b := range piece { // a merge that is no token, or a character
			if id := p.bytes[b]; id != None {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// start makes the symbols of a word.
func (w *bpeWork) start(text string) {
	if w.p.raw {
		for i := 0; i < len(text); {
			_, n := utf8.DecodeRuneInString(text[i:])
			w.add(i, i+n, maphash.String(w.p.v.ids.seed, text[i:i+n]))
			i += n
		}
		return
	}
	at := 0
	for i := range len(text) {
		b := text[i]
		w.add(at, at+len(w.p.chars[b]), w.p.hashes[b])
		at += len(w.p.chars[b])
	}
}

func (w *bpeWork) rank(a, b *symbol) (uint32, bool) {
	left, right := w.word[a.start:a.end], w.word[b.start:b.end]
	rank := w.p.ranks.find(pair(a.hash, b.hash), func(i int) bool {
		m := w.p.merges.At(i)
		return len(m) == len(left)+1+len(right) && m[len(left)] == ' ' && m[:len(left)] == string(left) && m[len(left)+1:] == string(right)
	})
	return uint32(rank), rank != None
}

func (w *bpeWork) joined(a *symbol) {
	a.hash = maphash.Bytes(w.p.v.ids.seed, w.word[a.start:a.end])
}

func (p *bpe) piece(text string) []byte {
	if p.raw {
		return unspaced(text)
	}
	b := make([]byte, 0, len(text))
	for _, r := range text {
		if int(r) < len(runeBytes) && runeBytes[r] >= 0 {
			b = append(b, byte(runeBytes[r]))
		} else {
			b = utf8.AppendRune(b, r)
		}
	}
	return b
}
