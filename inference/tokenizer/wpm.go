package tokenizer

import (
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// wpm is WordPiece: the text is cleaned and split into words and signs, and each
// word is taken apart into the longest tokens, from the left. A word that cannot
// be is unknown as a whole.
type wpm struct {
	v     *vocab
	unk   int32
	fold  bool // lower case
	strip bool // without accents

	list   sync.Once
	tokens *sorted
}

func newWPM(v *vocab, c *Config) *wpm {
	return &wpm{v: v, unk: c.id("unknown"), fold: c.Lowercase, strip: c.StripAccents}
}

func isBlank(r rune) bool { return classes()[r]&blank != 0 }

func toLower(r rune) rune { return unicode.ToLower(r) }

func (p *wpm) encode(ids []int32, text string, _ bool) []int32 {
	p.list.Do(func() { p.tokens = newSorted(p.v, func(attr) bool { return true }) })
	table := classes()
	word := []byte(space)
	flush := func() {
		if len(word) > len(space) {
			ids = p.word(ids, word)
		}
		word = word[:len(space)]
	}
	for i, r := range text {
		if r == utf8.RuneError && text[i] != 0xef || r == 0 || r == utf8.RuneError {
			continue
		}
		if p.strip {
			r = base(r)
		}
		c := table[r]
		switch {
		case c&blank != 0:
			flush()
		case c&ctl != 0 || p.strip && c&mark != 0:
		case c&punct != 0 || r < 0x7f && c&sym != 0 || chinese(r):
			flush()
			word = p.append(word, r)
			flush()
		default:
			word = p.append(word, r)
		}
	}
	flush()
	return ids
}

func (p *wpm) append(word []byte, r rune) []byte {
	if p.fold {
		r = toLower(r)
	}
	return utf8.AppendRune(word, r)
}

// word appends the ids of one word, which begins with ▁.
func (p *wpm) word(ids []int32, word []byte) []int32 {
	start := len(ids)
	for len(word) > 0 {
		id, size := None, 0
		p.tokens.walk(word, func(k, n int) { id, size = p.tokens.ids[k], n }) // the longest comes last
		if id == None {
			ids = ids[:start]
			break
		}
		ids, word = append(ids, id), word[size:]
	}
	if len(ids) == start && p.unk != None {
		ids = append(ids, p.unk)
	}
	return ids
}

// base is the first character of a character's canonical decomposition.
func base(r rune) rune {
	if r >= 0xac00 && r <= 0xd7a3 {
		return 0x1100 + (r-0xac00)/588 // Hangul is decomposed by calculation
	}
	var b [utf8.UTFMax]byte
	n := utf8.EncodeRune(b[:], r)
	if d := norm.NFD.Properties(b[:n]).Decomposition(); len(d) > 0 {
		r, _ = utf8.DecodeRune(d)
	}
	return r
}

// chinese tells whether a character is a word of its own, as in Hugging Face's
// library, where one block begins too late.
func chinese(r rune) bool {
	missing := r >= 0x2b820 && r <= 0x2b91f || r >= 0x2ceb0 && r <= 0x2ebef
	return han(r) && !missing
}

func (p *wpm) piece(text string) []byte { return unspaced(text) }

// clean takes away the spaces that were put between words and signs.
func clean(text []byte) []byte {
	text = rewrite(text, func(t []byte, i int) (int, bool) {
		return 1, t[i-1] == ' ' && (t[i] == '?' || t[i] == '!' || t[i] == '.' || t[i] == ',')
	})
	text = rewrite(text, func(t []byte, i int) (int, bool) { // a lone apostrophe
		return 2, t[i] == '\'' && t[i-1] == ' ' && i+1 < len(t) && t[i+1] == ' '
	})
	return rewrite(text, func(t []byte, i int) (int, bool) {
		if t[i] != '\'' || t[i-1] != ' ' || i+1 >= len(t) {
			return 1, false
		}
		switch {
		case t[i+1] == 's' || t[i+1] == 'm':
			return 1, true
		case t[i+1] == 't' || t[i+1] == 'd' || i+2 >= len(t):
			return 1, false
		}
		return 1, (t[i+1] == 'r' || t[i+1] == 'v') && t[i+2] == 'e'
	})
}

// rewrite drops the byte before i where drop says so, and then goes on n bytes
// behind i.
func rewrite(text []byte, drop func(text []byte, i int) (n int, yes bool)) []byte {
	if len(text) == 0 {
		return text
	}
	out := append(make([]byte, 0, len(text)), text[0])
	for i := 1; i < len(text); i++ {
		n, yes := drop(text, i)
		if yes {
			out = out[:len(out)-1]
		}
		out = append(out, text[i])
		if yes && n > 1 {
			i++
			text[i] = 0 // gone, as the next one sees it
		}
	}
	return out
}
