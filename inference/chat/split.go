package chat

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// splitter is s.split(sep, maxsplit) or rsplit; without a separator at white space.
func splitter(right bool) textFunc {
	return func(e *env, s string, a args) value {
		b := a.bind(e, "split", "sep", "maxsplit")
		n := e.int(b.or(1, int64(-1)))
		if n < 0 || n > len(s) {
			n = len(s) + 1
		}
		sep := b.or(0, nil)
		switch {
		case sep == nil:
			return e.texts(fields(s, n, right))
		case e.text(sep) == "":
			e.fail("empty separator")
		case !right:
			return e.texts(strings.SplitN(s, e.text(sep), n+1))
		}
		return e.texts(splitRight(s, e.text(sep), n))
	}
}

func splitRight(s, sep string, n int) (parts []string) {
	for len(parts) < n {
		i := strings.LastIndex(s, sep)
		if i < 0 {
			break
		}
		parts, s = append(parts, s[i+len(sep):]), s[:i]
	}
	parts = append(parts, s)
	slices.Reverse(parts)
	return parts
}

// fields splits at runs of white space, n times at most.
func fields(s string, n int, right bool) (parts []string) {
	for {
		s = strip(s, isSpace, !right, right)
		if s == "" {
			break
		}
		i := strings.IndexFunc(s, isSpace)
		if right {
			i = strings.LastIndexFunc(s, isSpace)
		}
		if n == 0 || i < 0 {
			parts = append(parts, s)
			break
		}
		_, width := utf8.DecodeRuneInString(s[i:])
		if right {
			parts, s = append(parts, s[i+width:]), s[:i]
		} else {
			parts, s = append(parts, s[:i]), s[i:]
		}
		n--
	}
	if right {
		slices.Reverse(parts)
	}
	return parts
}

func (e *env) texts(parts []string) *list {
	e.step(len(parts))
	l := &list{items: make([]value, len(parts))}
	for i, p := range parts {
		l.items[i] = p
	}
	return l
}

func splitLines(e *env, s string, a args) value {
	return e.texts(lines(s, truth(a.bind(e, "splitlines", "keepends").or(0, false))))
}

// lines splits at what Python takes for the end of a line.
func lines(s string, keep bool) (parts []string) {
	for s != "" {
		i := strings.IndexAny(s, "\n\r\v\f\x1c\x1d\x1e\u0085\u2028\u2029")
		if i < 0 {
			return append(parts, s)
		}
		_, width := utf8.DecodeRuneInString(s[i:])
		if strings.HasPrefix(s[i:], "\r\n") {
			width = 2
		}
		if keep {
			parts = append(parts, s[:i+width])
		} else {
			parts = append(parts, s[:i])
		}
		s = s[i+width:]
	}
	return parts
}

func partition(right bool) textFunc {
	return func(e *env, s string, a args) value {
		sep := e.text(a.bind(e, "partition", "sep!")[0])
		if sep == "" {
			e.fail("empty separator")
		}
		find := strings.Index
		if right {
			find = strings.LastIndex
		}
		l := &list{items: []value{s, "", ""}, kind: tuple}
		if i := find(s, sep); i >= 0 {
			l.items = []value{s[:i], sep, s[i+len(sep):]}
		} else if right {
			l.items = []value{"", "", s}
		}
		return l
	}
}

// finder is find or index, from the left or the right.
func finder(right, must bool) textFunc {
	return func(e *env, s string, a args) value {
		b := a.bind(e, "find", "sub!", "start", "end")
		sub, r := e.text(b[0]), []rune(s)
		from, to := span(e, b, len(r))
		var i int
		if b.has(1) && e.int(b.or(1, int64(0))) > len(r) || from > to {
			to = from
			sub += "\x00" // never found
		}
		part := string(r[from:to])
		if right {
			i = strings.LastIndex(part, sub)
		} else {
			i = strings.Index(part, sub)
		}
		switch {
		case i >= 0:
			return int64(from + utf8.RuneCountInString(part[:i]))
		case must:
			e.fail("substring not found")
		}
		return int64(-1)
	}
}

func countMethod(e *env, s string, a args) value {
	b := a.bind(e, "count", "sub!", "start", "end")
	if b.has(1) {
		r := []rune(s)
		from, to := span(e, b, len(r))
		s = string(r[from:max(from, to)])
	}
	return int64(strings.Count(s, e.text(b[0])))
}

// padder is ljust, rjust or center.
func padder(left, right bool) textFunc {
	return func(e *env, s string, a args) value {
		b := a.bind(e, "the padding", "width!", "fillchar")
		fill := e.text(b.or(1, " "))
		if utf8.RuneCountInString(fill) != 1 {
			e.fail("the fill character must be exactly one character long")
		}
		return e.pad(s, fill, e.int(b[0]), left, right)
	}
}

func (e *env) pad(s, fill string, width int, left, right bool) string {
	n := width - utf8.RuneCountInString(s)
	if n <= 0 {
		return s
	}
	if n > maxBytes {
		e.room(maxBytes + 1)
	}
	e.room(len(s) + n*len(fill))
	before := 0
	switch {
	case left && right:
		before = n/2 + n&width&1 // as Python centres
	case left:
		before = n
	}
	return strings.Repeat(fill, before) + s + strings.Repeat(fill, n-before)
}

func zfill(e *env, s string, a args) value {
	width := e.int(a.bind(e, "zfill", "width!")[0])
	sign := ""
	if s != "" && (s[0] == '-' || s[0] == '+') {
		sign, s = s[:1], s[1:]
	}
	return sign + e.pad(s, "0", width-len(sign), true, false)
}

func expandTabs(e *env, s string, a args) value {
	size := e.int(a.bind(e, "expandtabs", "tabsize").or(0, int64(8)))
	var b strings.Builder
	column := 0
	for _, r := range s {
		switch {
		case r == '\t' && size > 0:
			n := size - column%size
			e.room(b.Len() + n)
			b.WriteString(strings.Repeat(" ", n))
			column += n
			continue
		case r == '\t':
			continue
		case r == '\n' || r == '\r':
			column = -1
		}
		column++
		b.WriteRune(r)
	}
	return e.sized(b.String())
}
