package tokenizer

// gpt2 is
//
//	's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
func gpt2(s *scan, i int) int {
	if end := s.contraction(i, false); end > i {
		return end
	}
	lead := i
	if s.rune(i) == ' ' {
		lead++
	}
	if end := s.while(lead, let); end > lead {
		return end
	}
	if end := s.while(lead, num); end > lead {
		return end
	}
	if end := s.whileNot(lead, blank|let|num); end > lead {
		return end
	}
	return s.spaces(i)
}

// A pattern is a regular expression of the kind that most models use since
// GPT-4, a choice of, in this order:
//
//	(?i:'s|'t|'re|'ve|'m|'ll|'d)     when short
//	word
//	\p{N}{1,numbers}                 without end when numbers is 0
//	 ?[^\s\p{L}\p{N}marks]+[tail]*   as many of tail as tails says, -1 without end
//	\s*[\r\n]+
//	\s+(?!\S)|\s+                    or cascade
type pattern struct {
	short   bool
	word    next
	numbers int
	marks   class // mark, when it is not for the fourth line
	tail    string
	tails   int
	cascade bool
}

func (p pattern) step() step { return each(p.next) }

func (p pattern) next(s *scan, i int) int {
	if p.short {
		if end := s.contraction(i, true); end > i {
			return end
		}
	}
	if end := p.word(s, i); end > i {
		return end
	}
	if s.is(i, num) {
		return numbers(p.numbers)(s, i)
	}
	lead := i
	if s.rune(i) == ' ' {
		lead++
	}
	if end := s.whileNot(lead, blank|let|num|p.marks); end > lead {
		return p.trail(s, end)
	}
	if _, line := s.blanks(i); line > i {
		return line
	}
	if p.cascade {
		return cascade(s, i)
	}
	return s.spaces(i)
}

// trail is [tail]*.
func (p pattern) trail(s *scan, i int) int {
	for n := p.tails; n != 0; n-- {
		found := false
		for _, r := range p.tail {
			found = found || s.rune(i) == r
		}
		if !found {
			break
		}
		i++
	}
	return i
}

// cascade is \s{512}(?!\S)|\s{256}(?!\S)|…|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}.
func cascade(s *scan, i int) int {
	end, _ := s.blanks(i)
	for _, n := range []int{512, 256, 128, 64, 32, 16, 8, 4, 2, 1} {
		if left := end - i; left > n || left == n && end == s.to {
			return i + n
		}
	}
	return min(i+1, end)
}

// lead tells whether the character at i is one of [^\r\n\p{L}\p{N}].
func lead(s *scan, i int) bool { return s.isNot(i, let|num) && !s.line(i) }

// run is [^\r\n\p{L}\p{N}]?[letters]+.
func run(letters class) next {
	return func(s *scan, i int) int {
		if s.is(i, letters) {
			return s.while(i, letters)
		}
		if lead(s, i) && s.is(i+1, letters) {
			return s.while(i+1, letters)
		}
		return i
	}
}

// cased is the word of GPT-4o as llama.cpp writes it, with U for any of letters
// but a-z, L for any but A-Z, and C for a contraction when short:
//
//	[^\r\n\p{L}\p{N}]?U*L+C?|[^\r\n\p{L}\p{N}]?U+L*C?
func cased(letters class, short bool) next {
	return func(s *scan, i int) int {
		for _, word := range []func(*scan, int, class) int{lowerLast, upperFirst} {
			end := i
			if lead(s, i) {
				if e := word(s, i+1, letters); e > i+1 {
					end = e
				}
			}
			if end == i {
				end = word(s, i, letters)
			}
			if end > i && short {
				return s.contraction(end, true)
			}
			if end > i {
				return end
			}
		}
		return i
	}
}

// lowerLast is U*L+.
func lowerLast(s *scan, i int, letters class) int {
	lower := func(i int) bool { return s.is(i, letters) && (s.runes[i] < 'A' || s.runes[i] > 'Z') }
	upper := upperFirst(s, i, letters)
	end := upper
	for lower(end) {
		end++
	}
	if end > upper {
		return end
	}
	for upper > i { // U* gives back until L finds one
		if upper--; lower(upper) {
			return upper + 1
		}
	}
	return i
}

// upperFirst is U+L* where lowerLast has failed: it finds no L then.
func upperFirst(s *scan, i int, letters class) int {
	for s.is(i, letters) && (s.runes[i] < 'a' || s.runes[i] > 'z') {
		i++
	}
	return i
}

// phrase is [^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+.
func phrase(s *scan, i int) int {
	at := i
	if !s.is(at, let) && lead(s, at) {
		at++
	}
	if !s.is(at, let) {
		return i
	}
	for {
		at = s.while(at+1, mark)
		switch {
		case s.is(at, let):
		case s.rune(at) == ' ' && s.is(at+1, let):
			at++
		default:
			return at
		}
	}
}

// kimiWord is the word of Kimi K2: Chinese characters, or other letters with
// what the word of GPT-4o has around them.
func kimiWord(s *scan, i int) int {
	end := i
	for han(s.rune(end)) {
		end++
	}
	if end > i {
		return end
	}
	letter := func(i int) bool { return s.is(i, let) && !han(s.runes[i]) }
	if !letter(i) && lead(s, i) {
		end++
	}
	if !letter(end) {
		return i
	}
	for letter(end) {
		end++
	}
	return s.contraction(end, true)
}

// deepseek is, with ASCII's punctuation in the first brackets,
//
//	[!-/:-@[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|
//	 ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
func deepseek(s *scan, i int) int {
	if end := deepseekWord(s, i); end > i {
		return end
	}
	if end := afterSpace(s, i); end > i {
		return s.lines(end)
	}
	if _, line := s.blanks(i); line > i {
		return line
	}
	return s.spaces(i)
}

// spark is deepseek with its second line
//
//	?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+
func spark(s *scan, i int) int {
	if end := deepseekWord(s, i); end > i {
		return end
	}
	if end := afterSpace(s, i); end > i {
		return end
	}
	if s.line(i) {
		return i + 1
	}
	return s.spaces(i)
}

// afterSpace is " ?[\p{P}\p{S}]+".
func afterSpace(s *scan, i int) int {
	lead := i
	if s.rune(i) == ' ' {
		lead++
	}
	if end := s.while(lead, punct|sym); end > lead {
		return end
	}
	return i
}

// deepseekWord is the first line of deepseek.
func deepseekWord(s *scan, i int) int {
	if s.is(i, punct|sym) && s.runes[i] < 0x80 {
		end := i + 1
		for r := s.rune(end); 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z'; r = s.rune(end) {
			end++
		}
		if end > i+1 {
			return end
		}
	}
	if s.is(i, let|mark) {
		return s.while(i, let|mark)
	}
	if s.isNot(i, let|punct|sym) && !s.line(i) && s.is(i+1, let|mark) {
		return s.while(i+1, let|mark)
	}
	return i
}
