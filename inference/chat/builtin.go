package chat

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// globals are the functions that every template has. They are made in a function
// of their own, since some of them evaluate.
var globals = map[string]value{
	"raise_exception": &builtin{"raise_exception", func(_ *env, _ int, a args) value {
		panic(&Refusal{str(a.get(0, "message", ""))})
	}},
	"strftime_now": &builtin{"strftime_now", func(e *env, line int, a args) value {
		return strftime(line, e.now, str(a.get(0, "format", "")))
	}},
	"namespace": &builtin{"namespace", func(_ *env, line int, a args) value {
		if len(a.list) > 0 {
			fail(line, "namespace takes named values only")
		}
		vars := map[string]value{}
		maps.Copy(vars, a.named)
		return &namespace{vars}
	}},
	"range": &builtin{"range", numbers},
	"dict": &builtin{"dict", func(_ *env, line int, a args) value {
		if len(a.list) > 0 {
			fail(line, "dict takes named values only")
		}
		d := newDict()
		for _, k := range sortedKeys(a.named) {
			d.set(k, a.named[k])
		}
		return d
	}},
}

func sortedKeys(m map[string]value) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// numbers is range(to), range(from, to) or range(from, to, step).
func numbers(e *env, line int, a args) value {
	var n [3]int64
	for i, v := range a.list {
		x, ok := v.(int64)
		if !ok || i > 2 {
			fail(line, "range takes up to three integers")
		}
		n[i] = x
	}
	from, to, step := int64(0), n[0], int64(1)
	switch len(a.list) {
	case 0:
		fail(line, "range takes up to three integers")
	case 2:
		from, to = n[0], n[1]
	case 3:
		from, to, step = n[0], n[1], n[2]
	}
	if step == 0 {
		fail(line, "the step of a range is zero")
	}
	l := &list{}
	for i := from; step > 0 && i < to || step < 0 && i > to; i += step {
		e.step(line, 1)
		l.items = append(l.items, i)
	}
	return l
}

// strftime formats a time as Python does, for the codes that templates use.
func strftime(line int, t time.Time, format string) string {
	codes := map[byte]string{
		'Y': "2006", 'm': "01", 'd': "02", 'H': "15", 'M': "04", 'S': "05", 'B': "January", 'b': "Jan",
		'A': "Monday", 'a': "Mon", 'y': "06", 'I': "03", 'p': "PM", 'j': "002", 'Z': "MST", 'z': "-0700",
		'F': "2006-01-02", 'T': "15:04:05", 'e': "_2",
	}
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		layout, ok := codes[format[i]]
		switch {
		case format[i] == '%':
			b.WriteByte('%')
		case !ok:
			fail(line, "strftime_now: unknown code %%%c", format[i])
		default:
			b.WriteString(t.Format(layout))
		}
	}
	return b.String()
}

// textMethods are Python's methods of texts.
var textMethods = map[string]func(e *env, line int, s string, a args) value{
	"strip":      func(_ *env, _ int, s string, a args) value { return strip(s, a.get(0, "chars", nil), true, true) },
	"lstrip":     func(_ *env, _ int, s string, a args) value { return strip(s, a.get(0, "chars", nil), true, false) },
	"rstrip":     func(_ *env, _ int, s string, a args) value { return strip(s, a.get(0, "chars", nil), false, true) },
	"upper":      func(_ *env, _ int, s string, _ args) value { return strings.ToUpper(s) },
	"lower":      func(_ *env, _ int, s string, _ args) value { return strings.ToLower(s) },
	"title":      func(_ *env, _ int, s string, _ args) value { return title(s) },
	"capitalize": func(_ *env, _ int, s string, _ args) value { return capitalize(s) },
	"startswith": func(_ *env, line int, s string, a args) value { return affix(line, s, a, strings.HasPrefix) },
	"endswith":   func(_ *env, line int, s string, a args) value { return affix(line, s, a, strings.HasSuffix) },
	"replace":    replace,
	"format":     formatText,
	"split":      func(e *env, line int, s string, a args) value { return split(e, line, s, a, false) },
	"rsplit":     func(e *env, line int, s string, a args) value { return split(e, line, s, a, true) },
	"splitlines": func(e *env, line int, s string, _ args) value {
		return texts(e, line, strings.Split(strings.TrimSuffix(s, "\n"), "\n"))
	},
	"find": func(_ *env, line int, s string, a args) value {
		i := strings.Index(s, text(line, a.get(0, "sub", nil)))
		if i < 0 {
			return int64(-1)
		}
		return int64(utf8.RuneCountInString(s[:i]))
	},
	"count": func(_ *env, line int, s string, a args) value {
		return int64(strings.Count(s, text(line, a.get(0, "sub", nil))))
	},
	"join": func(e *env, line int, s string, a args) value { return join(e, line, a.get(0, "items", nil), s) },
	"isdigit": func(_ *env, _ int, s string, _ args) value {
		return s != "" && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsDigit(r) }) < 0
	},
}

// text returns an argument that must be a text.
func text(line int, v value) string {
	s, ok := v.(string)
	if !ok {
		fail(line, "want a text, not a %s", typeName(v))
	}
	return s
}

func strip(s string, chars value, left, right bool) string {
	is := unicode.IsSpace
	if set, ok := chars.(string); ok {
		is = func(r rune) bool { return strings.ContainsRune(set, r) }
	}
	if left {
		s = strings.TrimLeftFunc(s, is)
	}
	if right {
		s = strings.TrimRightFunc(s, is)
	}
	return s
}

func capitalize(s string) string {
	_, n := utf8.DecodeRuneInString(s)
	return strings.ToUpper(s[:n]) + strings.ToLower(s[n:])
}

func title(s string) string {
	inWord := false
	return strings.Map(func(r rune) rune {
		was := inWord
		inWord = unicode.IsLetter(r)
		if was {
			return unicode.ToLower(r)
		}
		return unicode.ToTitle(r)
	}, s)
}

// affix is startswith or endswith, of one text or a tuple of them.
func affix(line int, s string, a args, has func(s, x string) bool) value {
	v := a.get(0, "prefix", nil)
	if l, ok := v.(*list); ok {
		return slices.ContainsFunc(l.items, func(x value) bool { return has(s, text(line, x)) })
	}
	return has(s, text(line, v))
}

func replace(e *env, line int, s string, a args) value {
	from, to := text(line, a.get(0, "old", nil)), text(line, a.get(1, "new", nil))
	n := -1
	if c, ok := a.get(2, "count", nil).(int64); ok {
		n = int(c)
	}
	if grown := strings.Count(s, from) * len(to); grown > maxBytes {
		fail(line, "makes a text of more than %d bytes", maxBytes)
	}
	return e.sized(line, strings.Replace(s, from, to, n))
}

// split is s.split(sep, maxsplit); without a separator at runs of blanks.
func split(e *env, line int, s string, a args, right bool) value {
	n := -1
	if c, ok := a.get(1, "maxsplit", nil).(int64); ok && c >= 0 {
		n = int(c) + 1
	}
	v := a.get(0, "sep", nil)
	switch {
	case v == nil && n < 0:
		return texts(e, line, strings.Fields(s))
	case v == nil:
		fail(line, "split at blanks with a limit is not supported")
	}
	sep := text(line, v)
	if sep == "" {
		fail(line, "split by an empty text")
	}
	if !right || n < 0 {
		return texts(e, line, strings.SplitN(s, sep, n))
	}
	var parts []string
	for len(parts)+1 < n {
		i := strings.LastIndex(s, sep)
		if i < 0 {
			break
		}
		parts, s = append(parts, s[i+len(sep):]), s[:i]
	}
	parts = append(parts, s)
	slices.Reverse(parts)
	return texts(e, line, parts)
}

func texts(e *env, line int, parts []string) value {
	e.step(line, len(parts))
	l := &list{}
	for _, p := range parts {
		l.items = append(l.items, p)
	}
	return l
}

func join(e *env, line int, v value, sep string) string {
	var b strings.Builder
	for i, item := range e.iterate(line, v) {
		if i > 0 {
			b.WriteString(sep)
		}
		b.WriteString(str(item))
		if b.Len() > maxBytes {
			fail(line, "makes a text of more than %d bytes", maxBytes)
		}
	}
	return e.sized(line, b.String())
}

// dictMethod returns a method of a dict, nil for any other name.
func dictMethod(d *dict, name string) value {
	var call func(e *env, line int, a args) value
	switch name {
	case "items":
		call = func(e *env, line int, _ args) value { return pairs(e, line, d) }
	case "keys":
		call = func(e *env, line int, _ args) value { return &list{slices.Clone(e.iterate(line, d))} }
	case "values":
		call = func(e *env, line int, _ args) value {
			e.step(line, len(d.values))
			return &list{slices.Clone(d.values)}
		}
	case "get":
		call = func(_ *env, _ int, a args) value {
			if v, ok := d.get(a.get(0, "key", nil)); ok {
				return v
			}
			return a.get(1, "default", nil)
		}
	default:
		return nil
	}
	return &builtin{name, call}
}

func pairs(e *env, line int, d *dict) value {
	e.step(line, len(d.keys))
	l := &list{}
	for i, k := range d.keys {
		l.items = append(l.items, &list{[]value{k, d.values[i]}})
	}
	return l
}

func listMethod(l *list, name string) value {
	switch name {
	case "index":
		return &builtin{name, func(_ *env, line int, a args) value {
			i := slices.IndexFunc(l.items, func(v value) bool { return equal(v, a.get(0, "value", nil), 0) })
			if i < 0 {
				fail(line, "index: not in the list")
			}
			return int64(i)
		}}
	case "count":
		return &builtin{name, func(_ *env, _ int, a args) value {
			n := int64(0)
			for _, v := range l.items {
				if equal(v, a.get(0, "value", nil), 0) {
					n++
				}
			}
			return n
		}}
	case "append", "extend", "insert", "pop", "remove", "clear", "sort", "reverse":
		return &builtin{name, func(_ *env, line int, _ args) value {
			fail(line, "lists cannot be changed: %s", name)
			return nil
		}}
	}
	return nil
}

// test is "v is name(a)".
func (e *env) test(line int, name string, v value, a args) bool {
	e.step(line, 1)
	arg := a.get(0, "value", nil)
	switch name {
	case "defined", "undefined":
		_, u := v.(undefined)
		return u == (name == "undefined")
	case "none":
		return v == nil
	case "true", "false":
		b, ok := v.(bool)
		return ok && b == (name == "true")
	case "boolean", "integer", "float", "string", "mapping":
		return typeName(v) == map[string]string{"boolean": "bool", "integer": "int", "float": "float", "string": "str", "mapping": "dict"}[name]
	case "number":
		_, ok := number(v)
		return ok
	case "iterable", "sequence":
		switch v.(type) {
		case string, *list, *dict, undefined:
			return true
		}
		return false
	case "callable":
		return typeName(v) == "function"
	case "equalto", "eq", "==":
		return equal(v, arg, 0)
	case "ne", "!=":
		return !equal(v, arg, 0)
	case "in":
		return e.contains(line, arg, v)
	case "lt", "lessthan", "gt", "greaterthan", "le", "ge":
		op := map[string]string{"lt": "<", "lessthan": "<", "gt": ">", "greaterthan": ">", "le": "<=", "ge": ">="}[name]
		return e.holds(line, op, v, arg)
	case "odd", "even", "divisibleby":
		return divides(line, name, v, arg)
	}
	fail(line, "unknown test %q", name)
	return false
}

func divides(line int, name string, v, by value) bool {
	n, ok := v.(int64)
	d := int64(2)
	if name == "divisibleby" {
		d, _ = by.(int64)
	}
	if !ok || d == 0 {
		fail(line, "is %s: want integers", name)
	}
	return n%d == 0 != (name == "odd")
}

// formatText is Python's str.format with fields {}, {0} and {name} and without
// conversions or formats.
func formatText(e *env, line int, s string, a args) value {
	var b strings.Builder
	next := 0
	for rest := s; rest != ""; {
		i := strings.IndexAny(rest, "{}")
		if i < 0 {
			b.WriteString(rest)
			break
		}
		b.WriteString(rest[:i])
		if strings.HasPrefix(rest[i:], "{{") || strings.HasPrefix(rest[i:], "}}") {
			b.WriteByte(rest[i])
			rest = rest[i+2:]
			continue
		}
		end := strings.IndexByte(rest[i:], '}')
		if rest[i] == '}' || end < 0 {
			fail(line, "format: a single brace in %q", s)
		}
		b.WriteString(str(field(line, rest[i+1:i+end], a, &next)))
		rest = rest[i+end+1:]
		if b.Len() > maxBytes {
			break
		}
	}
	return e.sized(line, b.String())
}

// field is the argument that a field of a format names; the next one when it names none.
func field(line int, name string, a args, next *int) value {
	if n, err := strconv.Atoi(name); err == nil || name == "" {
		if name == "" {
			n = *next
			*next++
		}
		if n < 0 || n >= len(a.list) {
			fail(line, "format: there is no argument %d", n)
		}
		return a.list[n]
	}
	v, ok := a.named[name]
	if !ok {
		fail(line, "format: the field %q is not supported, or there is no such argument", name)
	}
	return v
}
