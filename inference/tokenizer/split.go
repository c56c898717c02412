package tokenizer

import (
	"slices"
	"unicode"
)

// The splits of a text into words, each equal to the regular expression in its
// comment. They are written by hand: Go's regexp knows no look-ahead.

func letter(r rune) bool { return unicode.Is(unicode.L, r) }
func number(r rune) bool { return unicode.Is(unicode.N, r) }
func blank(r rune) bool  { return unicode.IsSpace(r) }
func other(r rune) bool  { return !letter(r) && !number(r) && !blank(r) }

// none is what stands behind the end: of no class at all.
const none rune = -1

// A scan walks over runes[at:to].
type scan struct {
	runes  []rune
	at, to int
}

func (s *scan) peek(ahead int) rune {
	if s.at+ahead >= s.to {
		return none
	}
	return s.runes[s.at+ahead]
}

// run counts the runes from at+ahead on that are of a class.
func (s *scan) run(ahead int, class func(rune) bool) int {
	n := 0
	for r := s.peek(ahead); r != none && class(r); r = s.peek(ahead + n) {
		n++
	}
	return n
}

// contraction is the length of 's 't 're 've 'm 'll 'd at the scan, else 0.
func (s *scan) contraction(fold bool) int {
	if s.peek(0) != '\'' {
		return 0
	}
	a, b := s.peek(1), s.peek(2)
	if fold {
		a, b = unicode.ToLower(a), unicode.ToLower(b)
	}
	switch {
	case a == 's' || a == 't' || a == 'm' || a == 'd':
		return 2
	case a == 'r' && b == 'e' || a == 'v' && b == 'e' || a == 'l' && b == 'l':
		return 3
	}
	return 0
}

// spaces is the length of \s+(?!\S)|\s+ at the scan: all blanks but the last one
// before a word.
func (s *scan) spaces() int {
	n := s.run(0, blank)
	if n > 1 && s.peek(n) != none {
		return n - 1
	}
	return n
}

// words calls word for each stretch that next measures; where that is 0, one rune.
func words(runes []rune, from, to int, next func(*scan) int, word func(from, to int)) {
	s := &scan{runes, from, to}
	for s.at < to {
		n := max(next(s), 1)
		word(s.at, s.at+n)
		s.at += n
	}
}

// splitGPT2 is
//
//	's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
func splitGPT2(runes []rune, from, to int, word func(from, to int)) {
	words(runes, from, to, func(s *scan) int {
		if n := s.contraction(false); n > 0 {
			return n
		}
		lead := 0
		if s.peek(0) == ' ' {
			lead = 1
		}
		for _, class := range []func(rune) bool{letter, number, other} {
			if n := s.run(lead, class); n > 0 {
				return lead + n
			}
		}
		return s.spaces()
	}, word)
}

// splitLlama3 is
//
//	(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|
//	 ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
func splitLlama3(runes []rune, from, to int, word func(from, to int)) {
	words(runes, from, to, nextLlama3, word)
}

func nextLlama3(s *scan) int {
	if n := s.contraction(true); n > 0 {
		return n
	}
	r := s.peek(0)
	if n := s.run(0, letter); n > 0 {
		return n
	}
	if n := s.run(1, letter); n > 0 && r != '\r' && r != '\n' && !number(r) {
		return 1 + n
	}
	if n := s.run(0, number); n > 0 {
		return min(n, 3)
	}
	lead := 0
	if r == ' ' {
		lead = 1
	}
	if n := s.run(lead, other); n > 0 {
		n += lead
		return n + s.run(n, func(r rune) bool { return r == '\r' || r == '\n' })
	}
	blanks := s.run(0, blank)
	for n := blanks; n > 0; n-- { // \s*[\r\n]+ ends behind the last line break
		if c := s.peek(n - 1); c == '\r' || c == '\n' {
			return n
		}
	}
	return s.spaces()
}

// splitDefault is, one after the other within what the one before left,
//
//	[\p{P}\$\+<=>\^~\|]+    then GPT-2's    then \p{N}+    then [0-9][0-9][0-9]
func splitDefault(runes []rune, from, to int, word func(from, to int)) {
	punctuation := func(r rune) bool {
		switch r {
		case '$', '+', '<', '=', '>', '^', '~', '|':
			return true
		}
		return unicode.Is(unicode.P, r)
	}
	numbers := func(from, to int) {
		classes(runes, from, to, number, func(from, to int) { threes(runes, from, to, word) })
	}
	classes(runes, from, to, punctuation, func(from, to int) { splitGPT2(runes, from, to, numbers) })
}

// threes is [0-9][0-9][0-9].
func threes(runes []rune, from, to int, word func(from, to int)) {
	gap := from
	for at := from; at+3 <= to; {
		if !slices.ContainsFunc(runes[at:at+3], func(r rune) bool { return r < '0' || r > '9' }) {
			if gap < at {
				word(gap, at)
			}
			word(at, at+3)
			at += 3
			gap = at
			continue
		}
		at++
	}
	if gap < to {
		word(gap, to)
	}
}

// classes cuts a text into stretches inside and outside of a class.
func classes(runes []rune, from, to int, class func(rune) bool, part func(from, to int)) {
	for from < to {
		in, end := class(runes[from]), from+1
		for end < to && class(runes[end]) == in {
			end++
		}
		part(from, end)
		from = end
	}
}
