package tokenizer

import "unicode/utf8"

// none is what stands behind the end: of no class at all.
const none rune = -1

// broken is added to a byte that is no UTF-8, to tell it from all characters.
const broken rune = 0x200000

// A scan holds the characters of a text that is being split, and looks no
// further than to.
type scan struct {
	runes []rune
	class []class
	to    int

	run struct{ from, end, line, to int } // the blanks found last, for blanks
}

// read takes the characters of a text.
func (s *scan) read(text string) {
	table := classes()
	s.runes, s.class = s.runes[:0], s.class[:0]
	for i := 0; i < len(text); {
		r, n := rune(text[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(text[i:])
		}
		c := table[r]
		if r == utf8.RuneError && n == 1 {
			r = broken + rune(text[i])
		}
		s.runes, s.class = append(s.runes, r), append(s.class, c)
		i += n
	}
	s.to = len(s.runes)
	s.run.to = -1
}

// width is the number of bytes of a character in the text.
func width(r rune) int {
	switch {
	case r < 0x80 || r >= broken:
		return 1
	case r < 0x800:
		return 2
	case r < 0x10000:
		return 3
	}
	return 4
}

// rune returns the character at i, or none.
func (s *scan) rune(i int) rune {
	if i >= s.to {
		return none
	}
	return s.runes[i]
}

// wide is rune as the splits see it that use no categories: white space beyond
// ASCII is a vertical tab to them.
func (s *scan) wide(i int) rune {
	if r := s.rune(i); r < 0x80 || s.class[i]&blank == 0 {
		return r
	}
	return '\v'
}

// is tells whether the character at i is of one of the classes.
func (s *scan) is(i int, c class) bool { return i < s.to && s.class[i]&c != 0 }

// isNot tells whether there is a character at i, of none of the classes.
func (s *scan) isNot(i int, c class) bool { return i < s.to && s.class[i]&c == 0 }

// while returns the end of the characters from i on that are of the classes.
func (s *scan) while(i int, c class) int {
	for s.is(i, c) {
		i++
	}
	return i
}

// whileNot returns the end of the characters from i on that are not.
func (s *scan) whileNot(i int, c class) int {
	for s.isNot(i, c) {
		i++
	}
	return i
}

// whileIn returns the end of the characters from i on that are in a set.
func (s *scan) whileIn(i int, in set) int {
	for r := s.wide(i); r != none && in.has(r); r = s.wide(i) {
		i++
	}
	return i
}

// line tells whether the character at i ends a line.
func (s *scan) line(i int) bool { r := s.rune(i); return r == '\n' || r == '\r' }

func (s *scan) lines(i int) int {
	for s.line(i) {
		i++
	}
	return i
}

// blanks returns the end of the white space at i and the end of its last line,
// i when it has none. The answer is kept, for the next call in the same space.
func (s *scan) blanks(i int) (end, line int) {
	if k := &s.run; k.to == s.to && k.from <= i && i < k.end {
		return k.end, max(k.line, i)
	}
	end, line = i, i
	for s.is(end, blank) {
		end++
		if s.line(end - 1) {
			line = end
		}
	}
	s.run.from, s.run.end, s.run.line, s.run.to = i, end, line, s.to
	return end, line
}

// spaces is the end of \s+(?!\S)|\s+ at i: all blanks but the last one before a word.
func (s *scan) spaces(i int) int {
	end, _ := s.blanks(i)
	if end-i > 1 && end < s.to {
		return end - 1
	}
	return end
}

// contraction is the end of 's 't 're 've 'm 'll 'd at i, else i; with fold in
// capitals too.
func (s *scan) contraction(i int, fold bool) int {
	if s.rune(i) != '\'' {
		return i
	}
	a, b := s.rune(i+1), s.rune(i+2)
	if fold {
		a, b = lower(a), lower(b)
	}
	switch {
	case a == 's' || a == 't' || a == 'm' || a == 'd':
		return i + 2
	case a == 'r' && b == 'e' || a == 'v' && b == 'e' || a == 'l' && b == 'l':
		return i + 3
	}
	return i
}

func lower(r rune) rune {
	if 'A' <= r && r <= 'Z' {
		return r + 'a' - 'A'
	}
	return r
}
