package tokenizer

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// space is how SPM writes a space.
const space = "\u2581"

// spm is SentencePiece's BPE: characters are merged to the token of the highest
// score, again and again; what is no token then is spelt in bytes.
type spm struct {
	t       *Tokenizer
	byteIDs [256]int32 // the tokens <0x00> to <0xFF>, or None
}

func newSPM(t *Tokenizer) (*spm, error) {
	if len(t.c.Scores) != len(t.c.Tokens) {
		return nil, fmt.Errorf("tokenizer: %d scores for %d tokens", len(t.c.Scores), len(t.c.Tokens))
	}
	s := &spm{t: t}
	for b := range s.byteIDs {
		s.byteIDs[b] = t.find(fmt.Sprintf("<0x%02X>", b))
		if s.byteIDs[b] == None {
			s.byteIDs[b] = t.find(string([]byte{byte(b)}))
		}
	}
	return s, nil
}

// find returns the token of a text, or None.
func (t *Tokenizer) find(text string) int32 {
	if id, ok := t.ids[text]; ok {
		return id
	}
	return None
}

func (s *spm) encode(ids []int32, text string, first bool) []int32 {
	if first && s.t.c.AddSpacePrefix {
		text = " " + text
	}
	text = strings.ReplaceAll(text, " ", space)
	var syms []symbol
	for i := 0; i < len(text); {
		_, n := utf8.DecodeRuneInString(text[i:])
		syms = append(syms, symbol{start: i, end: i + n, id: s.t.find(text[i : i+n])})
		i += n
	}
	link(syms)
	merge(syms, func(a, b *symbol) (int32, float64, bool) {
		id, ok := s.t.ids[text[a.start:b.end]]
		if !ok {
			return 0, 0, false
		}
		return id, -float64(s.t.c.Scores[id]), true
	})
	for _, y := range syms {
		switch {
		case y.start == y.end: // merged into one before it
		case y.id != None:
			ids = append(ids, y.id)
		default:
			ids = s.spell(ids, text[y.start:y.end])
		}
	}
	return ids
}

// spell writes what is no token byte by byte.
func (s *spm) spell(ids []int32, text string) []int32 {
	for _, b := range []byte(text) {
		if id := s.byteIDs[b]; id != None {
			ids = append(ids, id)
		} else if s.t.c.UnknownID != None {
			ids = append(ids, s.t.c.UnknownID)
		}
	}
	return ids
}

func (s *spm) bytes(id int32) []byte {
	text := s.t.c.Tokens[id]
	if s.t.typ(id) == Byte {
		var b byte
		if _, err := fmt.Sscanf(text, "<0x%02X>", &b); err == nil {
			return []byte{b}
		}
	}
	return []byte(strings.ReplaceAll(text, space, " "))
}
