package chat

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// A textFunc is a method of a text.
type textFunc func(e *env, s string, a args) value

// textMethods are Python's methods of texts.
var textMethods map[string]textFunc

func init() {
	textMethods = map[string]textFunc{
		"strip": stripper(true, true), "lstrip": stripper(true, false), "rstrip": stripper(false, true),
		"upper": plain(upper), "lower": plain(lower), "title": plain(title), "capitalize": plain(capitalize),
		"swapcase": plain(swapCase), "casefold": plain(func(s string) string { return cases.Fold().String(s) }),
		"startswith": affix(strings.HasPrefix), "endswith": affix(strings.HasSuffix),
		"removeprefix": cutter(strings.TrimPrefix), "removesuffix": cutter(strings.TrimSuffix),
		"replace": replaceMethod, "split": splitter(false), "rsplit": splitter(true), "splitlines": splitLines,
		"partition": partition(false), "rpartition": partition(true),
		"find": finder(false, false), "rfind": finder(true, false), "index": finder(false, true), "rindex": finder(true, true),
		"count": countMethod, "join": joinMethod, "format": formatMethod, "format_map": formatMapMethod,
		"ljust": padder(false, true), "rjust": padder(true, false), "center": padder(true, true),
		"zfill": zfill, "expandtabs": expandTabs,
		"isdigit":   each(unicode.IsDigit), // superscripts aside
		"isdecimal": each(unicode.IsDigit), "isnumeric": each(unicode.IsNumber), "isalpha": each(unicode.IsLetter),
		"isalnum": each(func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }), "isspace": each(isSpace),
		"isupper": func(_ *env, s string, _ args) value { return isCase(s, unicode.IsUpper, unicode.IsLower) },
		"islower": func(_ *env, s string, _ args) value { return isCase(s, unicode.IsLower, unicode.IsUpper) },
		"istitle": func(_ *env, s string, _ args) value { return s == title(s) && isCaseAny(s) },
		"isascii": func(_ *env, s string, _ args) value {
			return strings.IndexFunc(s, func(r rune) bool { return r > 0x7f }) < 0
		},
		"isidentifier": func(_ *env, s string, _ args) value {
			return s != "" && nameLength(s) == len(s)
		},
		"isprintable": func(_ *env, s string, _ args) value {
			return strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
		},
	}
}

// textMethod returns a method of a text, nil for any other name. Methods of markup
// make markup, and escape what they put in.
func textMethod(v value, name string) func(e *env, a args) value {
	f, ok := textMethods[name]
	if !ok {
		return nil
	}
	s, _ := asText(v)
	_, safe := v.(markup)
	return func(e *env, a args) value {
		e.scan(v)
		e.scan(a.list...)
		if !safe {
			return f(e, s, a)
		}
		return marked(f(e, s, e.escaped(name, a)))
	}
}

// escaped are the arguments of a method of markup.
func (e *env) escaped(name string, a args) args {
	a = args{append([]value(nil), a.list...), a.names, append([]value(nil), a.named...)}
	switch {
	case name == "replace" && len(a.list) > 1:
		a.list[1] = e.escape(a.list[1])
	case name == "join" && len(a.list) > 0:
		l := &list{}
		for _, item := range e.iterate(a.list[0]) {
			l.items = append(l.items, e.escape(item))
		}
		a.list[0] = l
	case name == "format":
		for _, items := range [][]value{a.list, a.named} {
			for i, v := range items {
				items[i] = e.escape(v)
			}
		}
	}
	return a
}

// marked makes texts markup.
func marked(v value) value {
	switch v := v.(type) {
	case string:
		return markup(v)
	case *list:
		out := &list{kind: v.kind}
		for _, item := range v.items {
			out.items = append(out.items, marked(item))
		}
		return out
	}
	return v
}

func plain(f func(string) string) textFunc {
	return func(e *env, s string, a args) value {
		a.bind(e, "the method")
		e.scan(s, s) // slower than others
		return e.sized(f(s))
	}
}

func each(is func(rune) bool) textFunc {
	return func(_ *env, s string, _ args) value {
		return s != "" && strings.IndexFunc(s, func(r rune) bool { return !is(r) }) < 0
	}
}

func upper(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r > 0x7f }) < 0 {
		return strings.ToUpper(s)
	}
	return cases.Upper(language.Und).String(s)
}

func lower(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r > 0x7f }) < 0 {
		return strings.ToLower(s)
	}
	return cases.Lower(language.Und).String(s)
}

func capitalize(s string) string {
	_, n := utf8.DecodeRuneInString(s)
	return titleOf(s[:n]) + lower(s[n:])
}

// titleOf is one character as it begins a word.
func titleOf(s string) string {
	if s == "ß" {
		return "Ss"
	}
	return strings.ToTitle(s)
}

func isCased(r rune) bool { return unicode.IsUpper(r) || unicode.IsLower(r) || unicode.IsTitle(r) }

func title(s string) string {
	var b strings.Builder
	inWord := false
	for _, r := range s {
		switch {
		case inWord:
			b.WriteRune(unicode.ToLower(r))
		default:
			b.WriteString(titleOf(string(r)))
		}
		inWord = isCased(r)
	}
	return b.String()
}

func swapCase(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsUpper(r) {
			return unicode.ToLower(r)
		}
		return unicode.ToUpper(r)
	}, s)
}

func isCaseAny(s string) bool { return strings.IndexFunc(s, isCased) >= 0 }

// isCase tells whether s has letters of one case and none of the other.
func isCase(s string, is, other func(rune) bool) bool {
	return strings.IndexFunc(s, is) >= 0 && strings.IndexFunc(s, other) < 0
}

func strip(s string, is func(rune) bool, left, right bool) string {
	if left {
		s = strings.TrimLeftFunc(s, is)
	}
	if right {
		s = strings.TrimRightFunc(s, is)
	}
	return s
}

func stripper(left, right bool) textFunc {
	return func(e *env, s string, a args) value {
		is := isSpace
		if v := a.bind(e, "strip", "chars").or(0, nil); v != nil {
			set := e.text(v)
			in := map[rune]bool{}
			for _, r := range set {
				in[r] = true
			}
			is = func(r rune) bool { return in[r] }
		}
		return e.sized(strip(s, is, left, right))
	}
}

// affix is startswith or endswith, of one text or a tuple of them.
func affix(has func(s, x string) bool) textFunc {
	return func(e *env, s string, a args) value {
		b := a.bind(e, "startswith or endswith", "prefix!", "start", "end")
		if b.has(1) {
			r := []rune(s)
			from, to := span(e, b, len(r))
			s = string(r[from:max(from, to)])
		}
		if l, ok := b[0].(*list); ok && l.kind == tuple {
			for _, x := range l.items {
				if has(s, e.text(x)) {
					return true
				}
			}
			return false
		}
		return has(s, e.text(b[0]))
	}
}

func cutter(cut func(s, x string) string) textFunc {
	return func(e *env, s string, a args) value {
		return e.sized(cut(s, e.text(a.bind(e, "removeprefix or removesuffix", "affix!")[0])))
	}
}

func replaceMethod(e *env, s string, a args) value {
	b := a.bind(e, "replace", "old!", "new!", "count")
	n := -1
	if v := b.or(2, nil); v != nil {
		n = e.int(v)
	}
	return e.replace(s, e.text(b[0]), e.text(b[1]), n)
}

func (e *env) replace(s, from, to string, n int) string {
	count := strings.Count(s, from)
	if n >= 0 {
		count = min(count, n)
	}
	if grown := len(s) + count*(len(to)-len(from)); grown > maxBytes || count > maxBytes/max(1, len(to)) {
		e.room(maxBytes + 1)
	}
	return e.sized(strings.Replace(s, from, to, n))
}

func joinMethod(e *env, s string, a args) value {
	items := e.iterate(a.bind(e, "join", "items!")[0])
	parts := make([]string, len(items))
	for i, item := range items {
		parts[i] = e.text(item)
	}
	return e.joined(parts, s)
}

func (e *env) joined(parts []string, sep string) string {
	n := len(sep) * max(0, len(parts)-1)
	for _, p := range parts {
		if n += len(p); n > maxBytes {
			break
		}
	}
	e.room(n)
	return strings.Join(parts, sep)
}
