package tokenizer

import "unicode/utf8"

// A Stream turns tokens into text as they come. It holds back the bytes of a
// character that is not whole yet. It belongs to one goroutine.
type Stream struct {
	t    *Tokenizer
	held []byte
}

// NewStream begins a text.
func (t *Tokenizer) NewStream() *Stream { return &Stream{t: t} }

// Push returns the text that is certain after one more token: valid UTF-8, ""
// when the token ends inside a character. Bytes that can become no character
// are U+FFFD.
func (s *Stream) Push(id int32) string {
	s.held = append(s.held, s.t.Piece(id, false)...)
	n := len(s.held) - unfinished(s.held)
	text := valid(s.held[:n])
	s.held = append(s.held[:0], s.held[n:]...)
	return text
}

// Flush ends the text: what was held back is U+FFFD.
func (s *Stream) Flush() string {
	text := valid(s.held)
	s.held = s.held[:0]
	return text
}

// unfinished is the number of bytes at the end of b that begin a character and
// may still become one.
func unfinished(b []byte) int {
	for n := 1; n <= min(3, len(b)); n++ {
		tail := b[len(b)-n:]
		if utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				return n
			}
			return 0
		}
	}
	return 0
}

// valid replaces what is no UTF-8, one U+FFFD for each stretch.
func valid(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var out []byte
	bad := false
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if broken := r == utf8.RuneError && n == 1; !broken || !bad {
			out = utf8.AppendRune(out, r)
			bad = broken
		}
		b = b[n:]
	}
	return string(out)
}
