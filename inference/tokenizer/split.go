package tokenizer

import "slices"

// A next measures the word that begins at i: it returns its end, i when none
// begins there. It is one regular expression, tried at one place.
type next func(s *scan, i int) int

// A step cuts the characters from..to into parts, in order and without gaps.
type step func(s *scan, from, to int, part func(from, to int))

// each is the step that makes a part of every match of n, and one of what lies
// between two matches.
func each(n next) step {
	return func(s *scan, from, to int, part func(from, to int)) {
		gap := from
		for i := from; i < to; {
			s.to = to // part may have set it nearer
			end := n(s, i)
			if end <= i {
				i++
				continue
			}
			if gap < i {
				part(gap, i)
			}
			part(i, end)
			i, gap = end, end
		}
		if gap < to {
			part(gap, to)
		}
	}
}

// split applies the steps one after the other, each within the parts of the one
// before, and calls word for what is left, in order.
func (s *scan) split(steps []step, word func(from, to int)) {
	part := word
	for _, cut := range slices.Backward(steps) {
		inner := part
		part = func(from, to int) { cut(s, from, to, inner) }
	}
	if len(s.runes) > 0 {
		part(0, len(s.runes))
	}
}

// numbers is \p{N}{1,limit}, without end when limit is 0.
func numbers(limit int) next {
	return func(s *scan, i int) int {
		end := i
		for s.is(end, num) && (limit == 0 || end-i < limit) {
			end++
		}
		return end
	}
}

// allIn is a stretch of characters of a set; after \s? when spaced.
func allIn(in set, spaced bool) next {
	return func(s *scan, i int) int {
		lead := i
		if spaced && s.is(i, blank) {
			lead++
		}
		if end := s.whileIn(lead, in); end > lead {
			return end
		}
		return s.whileIn(i, in)
	}
}

// afterBlank is \s?c+.
func afterBlank(c class) next {
	return func(s *scan, i int) int {
		lead := i
		if s.is(i, blank) {
			lead++
		}
		if end := s.while(lead, c); end > lead {
			return end
		}
		return i
	}
}

// newline is [\r\n].
func newline(s *scan, i int) int {
	if s.line(i) {
		return i + 1
	}
	return i
}

// lastBlanks is \s+$.
func lastBlanks(s *scan, i int) int {
	if end, _ := s.blanks(i); end == s.to {
		return end
	}
	return i
}

// feeds is [^\n]+|[\n]+.
func feeds(s *scan, from, to int, part func(from, to int)) {
	for from < to {
		end, feed := from+1, s.runes[from] == '\n'
		for end < to && (s.runes[end] == '\n') == feed {
			end++
		}
		part(from, end)
		from = end
	}
}

func isDigit(r rune) bool { return '0' <= r && r <= '9' }

// threeDigits is [0-9][0-9][0-9].
func threeDigits(s *scan, i int) int {
	if isDigit(s.rune(i)) && isDigit(s.rune(i+1)) && isDigit(s.rune(i+2)) {
		return i + 3
	}
	return i
}

// thousands is (?=(\d{3})+(?!\d)): it cuts before each three digits, counted
// from the right.
func thousands(s *scan, from, to int, part func(from, to int)) {
	gap := from
	for i := from; i < to; {
		end := i
		for end < to && isDigit(s.runes[end]) {
			end++
		}
		for at := i + (end-i)%3; at < end; at += 3 {
			if gap < at {
				part(gap, at)
				gap = at
			}
		}
		i = max(end, i+1)
	}
	if gap < to {
		part(gap, to)
	}
}

// groups cuts behind each three numbers, counted from the right. What stands
// before a number stays with its first group.
func groups(s *scan, from, to int, part func(from, to int)) {
	gap := from
	for i := from; i < to; {
		end := i
		for end < to && s.class[end]&num != 0 {
			end++
		}
		for at := i + (end-i)%3; at <= end; at += 3 {
			if at > i {
				part(gap, at)
				gap = at
			}
		}
		i = max(end, i+1)
	}
	if gap < to {
		part(gap, to)
	}
}
