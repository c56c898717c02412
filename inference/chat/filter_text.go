package chat

import (
	"html"
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

func addTextFilters(filters map[string]filterFunc) {
	for _, name := range []string{"upper", "lower", "capitalize"} {
		filters[name] = func(e *env, v value, a args) value { return textMethod(e.soft(v), name)(e, a) }
	}
	filters["trim"] = func(e *env, v value, a args) value {
		b := a.bind(e, "trim", "chars")
		return textMethod(e.soft(v), "strip")(e, args{list: []value{b.or(0, nil)}})
	}
	filters["split"] = func(e *env, v value, a args) value { return textMethod(e.text(v), "split")(e, a) }
	filters["string"] = func(e *env, v value, _ args) value { return e.soft(v) }
	filters["safe"] = func(e *env, v value, _ args) value { return markup(e.str(v)) }
	filters["escape"] = func(e *env, v value, _ args) value { return markup(e.escape(v)) }
	filters["e"] = filters["escape"]
	filters["forceescape"] = func(e *env, v value, _ args) value { return markup(e.escape(e.str(v))) }
	filters["title"] = func(e *env, v value, _ args) value { return e.sized(titleWords(e.str(v))) }
	filters["replace"] = func(e *env, v value, a args) value {
		b, n := a.bind(e, "replace", "old!", "new!", "count"), -1
		if c := b.or(2, nil); c != nil {
			n = e.int(c)
		}
		return e.replace(e.str(v), e.str(b[0]), e.str(b[1]), n)
	}
	filters["center"] = func(e *env, v value, a args) value {
		return textMethod(e.soft(v), "center")(e, args{list: []value{a.bind(e, "center", "width").or(0, int64(80))}})
	}
	filters["format"] = formatFilter
	filters["indent"] = indentFilter
	filters["truncate"] = truncateFilter
	filters["urlencode"] = urlEncodeFilter
	filters["striptags"] = func(e *env, v value, _ args) value { return e.sized(stripTags(e.str(v))) }
	filters["xmlattr"] = xmlAttrFilter
	filters["wordcount"] = func(e *env, v value, _ args) value {
		return int64(len(strings.FieldsFunc(e.str(v), func(r rune) bool {
			return r != '_' && !unicode.IsLetter(r) && !unicode.IsNumber(r)
		})))
	}
	filters["filesizeformat"] = fileSizeFilter
}

// soft is v as a text; markup stays markup.
func (e *env) soft(v value) value {
	if m, ok := v.(markup); ok {
		return m
	}
	return e.str(v)
}

var wordStart = regexp.MustCompile(`[-\s({\[<]+`)

// titleWords is the filter title: words begin behind blanks and brackets only.
func titleWords(s string) string {
	var b strings.Builder
	word := func(w string) {
		_, n := utf8.DecodeRuneInString(w)
		b.WriteString(upper(w[:n]) + lower(w[n:]))
	}
	at := 0
	for _, m := range wordStart.FindAllStringIndex(s, -1) {
		word(s[at:m[0]])
		b.WriteString(s[m[0]:m[1]])
		at = m[1]
	}
	word(s[at:])
	return b.String()
}

func formatFilter(e *env, v value, a args) value {
	s := e.soft(v)
	if len(a.names) > 0 {
		if len(a.list) > 0 {
			e.fail("can't handle positional and keyword arguments at the same time")
		}
		return e.arithmetic("%", s, makeDict(e, a))
	}
	return e.arithmetic("%", s, &list{items: a.list, kind: tuple})
}

// indentFilter indents all lines, the first one and blank ones only when asked.
func indentFilter(e *env, v value, a args) value {
	b := a.bind(e, "indent", "width", "first", "blank")
	s, ok := asText(v)
	if !ok {
		e.defined(v)
		e.fail("indent: want a text, got %s", className(v))
	}
	width, ok := asText(b.or(0, int64(4)))
	if !ok {
		n := e.int(b.or(0, int64(4)))
		if n > maxBytes {
			e.room(maxBytes + 1)
		}
		width = strings.Repeat(" ", max(0, n))
	}
	parts := lines(s+"\n", false)
	if len(width) > maxBytes/len(parts) {
		e.room(maxBytes + 1)
	}
	blank := truth(b.or(2, false))
	for i, l := range parts {
		if i > 0 && (l != "" || blank) || i == 0 && truth(b.or(1, false)) {
			parts[i] = width + l
		}
	}
	return like(v, e.joined(parts, "\n"))
}

func truncateFilter(e *env, v value, a args) value {
	b := a.bind(e, "truncate", "length", "killwords", "end", "leeway")
	n, end, leeway := e.int(b.or(0, int64(255))), e.text(b.or(2, "...")), 5
	if l := b.or(3, nil); l != nil {
		leeway = e.int(l)
	}
	r := []rune(e.text(v))
	keep := n - utf8.RuneCountInString(end)
	if keep < 0 || leeway < 0 {
		e.fail("truncate: expected length >= %d and leeway >= 0, got %d and %d", utf8.RuneCountInString(end), n, leeway)
	}
	if len(r) <= n+leeway {
		return v
	}
	s := string(r[:keep])
	if i := strings.LastIndexByte(s, ' '); !truth(b.or(1, false)) && i >= 0 {
		s = s[:i]
	}
	return e.arithmetic("+", like(v, s), end)
}

// quoteURL is urllib's quote, and with plus its quote_plus.
func quoteURL(s string, plus bool) string {
	s = strings.ReplaceAll(url.QueryEscape(s), "%7E", "~")
	if plus {
		return s
	}
	return strings.NewReplacer("+", "%20", "%2F", "/").Replace(s)
}

func urlEncodeFilter(e *env, v value, a args) value {
	a.bind(e, "urlencode")
	if s, ok := asText(v); ok || !isIterable(e, v) {
		if !ok {
			s = e.str(v)
		}
		return e.sized(quoteURL(s, false))
	}
	if d, ok := v.(*dict); ok {
		v = d.view(dictItems)
	}
	var parts []string
	for _, item := range e.iterate(v) {
		pair := e.iterate(item)
		if len(pair) != 2 {
			e.fail("urlencode: want pairs")
		}
		parts = append(parts, quoteURL(e.str(pair[0]), true)+"="+quoteURL(e.str(pair[1]), true))
	}
	return e.joined(parts, "&")
}

// stripTags takes tags and comments away, and all blanks but one.
func stripTags(s string) string {
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '<')
		if i < 0 {
			break
		}
		end := ">"
		if strings.HasPrefix(s[i:], "<!--") {
			end = "-->"
		}
		n := strings.Index(s[i:], end)
		if n < 0 {
			break
		}
		b.WriteString(s[:i])
		s = s[i+n+len(end):]
	}
	b.WriteString(s)
	return html.UnescapeString(strings.Join(strings.FieldsFunc(b.String(), isSpace), " "))
}

func xmlAttrFilter(e *env, v value, a args) value {
	b := a.bind(e, "xmlattr", "autospace")
	d, ok := v.(*dict)
	if !ok {
		e.defined(v)
		e.fail("xmlattr: want a dict, got %s", className(v))
	}
	var parts []string
	for i, k := range d.keys {
		if d.values[i] == nil || isUndefined(d.values[i]) {
			continue
		}
		if name := e.text(k); strings.ContainsAny(name, " \t\n\r\f\v/>=") {
			e.fail("Invalid character in attribute name: %s", e.repr(name))
		}
		parts = append(parts, e.escape(k)+`="`+e.escape(d.values[i])+`"`)
	}
	s := e.joined(parts, " ")
	if s != "" && truth(b.or(0, true)) {
		s = " " + s
	}
	return s
}

func fileSizeFilter(e *env, v value, a args) value {
	binary := truth(a.bind(e, "filesizeformat", "binary").or(0, false))
	f, ok := floatFilter(e, v, args{list: []value{nil}}).(float64)
	if !ok {
		e.fail("filesizeformat: want a number, got %s", className(v))
	}
	base, suffix := 1000.0, "B"
	if binary {
		base, suffix = 1024, "iB"
	}
	switch {
	case f == 1:
		return "1 Byte"
	case f < base:
		return e.str(intFilter(e, f, args{})) + " Bytes"
	}
	units := "kMGTPEZY"
	if binary {
		units = "KMGTPEZY"
	}
	i := 0
	for f /= base; f >= base && i < len(units)-1; i++ {
		f /= base
	}
	return e.formatted(f, spec{fill: " ", precision: 1, verb: 'f'}) + " " + units[i:i+1] + suffix
}
