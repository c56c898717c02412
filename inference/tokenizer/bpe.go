package tokenizer

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// bpe is byte-level BPE: the text is split into words, each byte of a word is a
// character of its own, and neighbours are merged in the order of the merges.
type bpe struct {
	t      *Tokenizer
	split  func(runes []rune, from, to int, word func(from, to int))
	whole  bool // a word that is a token is not taken apart (llama-bpe)
	syms   map[string]int32
	merges map[[2]int32]ranked
	chars  [256]int32 // the symbol of each byte, or None
}

// ranked is what a pair becomes and when.
type ranked struct {
	rank int
	sym  int32 // a token's id, or a number behind them
}

// byteRunes is GPT-2's writing of bytes as printable characters: itself for what
// is visible in Latin-1, else 256 and up in turn.
var byteRunes, runeBytes = func() (to [256]rune, from map[rune]byte) {
	from = map[rune]byte{}
	next := rune(256)
	for b := range 256 {
		r := rune(b)
		if visible := b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae; !visible {
			r = next
			next++
		}
		to[b], from[r] = r, byte(b)
	}
	return to, from
}()

func newBPE(t *Tokenizer) (*bpe, error) {
	p := &bpe{t: t, merges: make(map[[2]int32]ranked, len(t.c.Merges)), syms: map[string]int32{}}
	switch t.c.Pre {
	case "", "default":
		p.split = splitDefault
	case "gpt-2":
		p.split = splitGPT2
	case "llama-bpe", "llama3", "llama-v3":
		p.split, p.whole = splitLlama3, true
	default:
		return nil, fmt.Errorf("tokenizer: pre-tokenizer %q is %w, only: default gpt-2 llama-bpe", t.c.Pre, ErrUnsupported)
	}
	for b, r := range byteRunes {
		p.chars[b] = t.find(string(r))
	}
	for rank, m := range t.c.Merges {
		left, right, ok := strings.Cut(m, " ")
		if at := strings.IndexByte(m[min(1, len(m)):], ' '); at >= 0 { // the left one may begin with a space
			left, right, ok = m[:at+1], m[at+2:], true
		}
		if !ok || left == "" || right == "" {
			return nil, fmt.Errorf("tokenizer: merge %d is %q, want two texts with a space between", rank, m)
		}
		pair := [2]int32{p.sym(left), p.sym(right)}
		if _, twice := p.merges[pair]; !twice {
			p.merges[pair] = ranked{rank, p.sym(left + right)}
		}
	}
	return p, nil
}

// sym returns the number of a text: the token's, or a new one behind all tokens.
func (p *bpe) sym(text string) int32 {
	if id := p.t.find(text); id != None {
		return id
	}
	id, ok := p.syms[text]
	if !ok {
		id = int32(len(p.t.c.Tokens) + len(p.syms))
		p.syms[text] = id
	}
	return id
}

func (p *bpe) encode(ids []int32, text string, _ bool) []int32 {
	runes := make([]rune, 0, len(text))
	starts := make([]int, 0, len(text)+1)
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		runes, starts = append(runes, r), append(starts, i)
		i += n
	}
	starts = append(starts, len(text))
	var syms []symbol
	p.split(runes, 0, len(runes), func(from, to int) {
		ids, syms = p.word(ids, syms[:0], text[starts[from]:starts[to]])
	})
	return ids
}

// word appends the ids of one word. syms is scratch.
func (p *bpe) word(ids []int32, syms []symbol, word string) ([]int32, []symbol) {
	if p.whole {
		if id := p.t.find(written(word)); id != None {
			return append(ids, id), syms
		}
	}
	for i := range len(word) {
		syms = append(syms, symbol{start: i, end: i + 1, id: p.chars[word[i]]})
	}
	link(syms)
	merge(syms, func(a, b *symbol) (int32, float64, bool) {
		m, ok := p.merges[[2]int32{a.id, b.id}]
		return m.sym, float64(m.rank), ok
	})
	for _, y := range syms {
		switch {
		case y.start == y.end:
		case y.id != None && int(y.id) < len(p.t.c.Tokens):
			ids = append(ids, y.id)
		default: // a merge that is no token
			for i := y.start; i < y.end; i++ {
				if id := p.chars[word[i]]; id != None {
					ids = append(ids, id)
				}
			}
		}
	}
	return ids, syms
}

// written returns the bytes as the vocabulary writes them.
func written(word string) string {
	var b strings.Builder
	for i := range len(word) {
		b.WriteRune(byteRunes[word[i]])
	}
	return b.String()
}

func (p *bpe) bytes(id int32) []byte {
	var b []byte
	for _, r := range p.t.c.Tokens[id] {
		if c, ok := runeBytes[r]; ok {
			b = append(b, c)
		} else {
			b = utf8.AppendRune(b, r)
		}
	}
	return b
}
