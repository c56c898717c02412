package chat

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A printer writes values as Python's repr does.
type printer struct {
	b     strings.Builder
	limit int
	full  bool // more would have been written than the limit
}

// str is Python's str: what is printed.
func (e *env) str(v value) string {
	switch v := v.(type) {
	case undefined:
		return ""
	case string:
		return v
	case markup:
		return string(v)
	case nil:
		return "None"
	case int64:
		return strconv.FormatInt(v, 10)
	}
	return e.repr(v)
}

func (e *env) repr(v value) string {
	e.scan(v)
	p := &printer{limit: maxBytes}
	p.repr(v, 0)
	if p.full {
		e.fail("makes a text of more than %d bytes, or nested more than %d deep", maxBytes, maxDepth)
	}
	return e.sized(p.b.String())
}

func (p *printer) repr(v value, depth int) {
	if depth > maxDepth || p.b.Len() > p.limit {
		p.full = true
		return
	}
	switch v := v.(type) {
	case nil:
		p.b.WriteString("None")
	case bool:
		p.b.WriteString(map[bool]string{true: "True", false: "False"}[v])
	case int64:
		p.b.WriteString(strconv.FormatInt(v, 10))
	case *big.Int:
		p.b.WriteString(v.String())
	case float64:
		p.b.WriteString(floatText(v))
	case string:
		p.quote(v)
	case markup:
		p.b.WriteString("Markup(")
		p.quote(string(v))
		p.b.WriteByte(')')
	case *list:
		p.list(v, depth)
	case *dict:
		p.dict(v, depth)
	case *namespace:
		p.b.WriteString("<Namespace ")
		p.dict(v.vars, depth)
		p.b.WriteByte('>')
	case *macro:
		p.b.WriteString("<Macro ")
		p.quote(v.n.name)
		p.b.WriteByte('>')
	case *loop:
		p.b.WriteString("<LoopContext " + strconv.Itoa(v.i+1) + "/" + strconv.Itoa(len(v.items)) + ">")
	case undefined:
		p.b.WriteString("Undefined")
	default:
		p.b.WriteString("<" + typeName(v) + ">")
	}
}

func (p *printer) list(l *list, depth int) {
	open, shut := "[", "]"
	switch l.kind {
	case tuple:
		open, shut = "(", ")"
		if len(l.items) == 1 {
			shut = ",)"
		}
	case numberRange:
		p.b.WriteString(l.bounds.String())
		return
	case dictKeys, dictValues, dictItems:
		open, shut = typeName(l)+"([", "])"
	}
	p.b.WriteString(open)
	for i, item := range l.items {
		if i > 0 {
			p.b.WriteString(", ")
		}
		if p.repr(item, depth+1); p.full {
			return
		}
	}
	p.b.WriteString(shut)
}

func (p *printer) dict(d *dict, depth int) {
	p.b.WriteByte('{')
	for i, k := range d.keys {
		if i > 0 {
			p.b.WriteString(", ")
		}
		p.repr(k, depth+1)
		p.b.WriteString(": ")
		if p.repr(d.values[i], depth+1); p.full {
			return
		}
	}
	p.b.WriteByte('}')
}

// quote writes a text in quotes: single ones, unless that saves escapes.
func (p *printer) quote(s string) {
	quote := '\''
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	p.b.WriteRune(quote)
	for _, r := range s {
		switch {
		case r == quote || r == '\\':
			p.b.WriteByte('\\')
			p.b.WriteRune(r)
		case r == '\n':
			p.b.WriteString(`\n`)
		case r == '\r':
			p.b.WriteString(`\r`)
		case r == '\t':
			p.b.WriteString(`\t`)
		case r == ' ' || unicode.IsPrint(r):
			p.b.WriteRune(r)
		default:
			p.escape(r)
		}
	}
	p.b.WriteRune(quote)
}

// escape writes a character by its number.
func (p *printer) escape(r rune) {
	switch {
	case r < 0x100:
		p.b.WriteString(`\x` + hex(r, 2))
	case r < 0x10000:
		p.b.WriteString(`\u` + hex(r, 4))
	default:
		p.b.WriteString(`\U` + hex(r, 8))
	}
}

// hex is r in n hexadecimal digits.
func hex(r rune, n int) string {
	s := strconv.FormatInt(int64(r), 16)
	return strings.Repeat("0", max(0, n-len(s))) + s
}

// floatText is Python's repr of a float: the shortest digits, with a point or an
// exponent, which is used below 1e-4 and from 1e16 on.
func floatText(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	case math.IsNaN(f):
		return "nan"
	}
	if abs := math.Abs(f); abs != 0 && (abs < 1e-4 || abs >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// escape returns v as text that is safe in HTML.
func (e *env) escape(v value) string {
	if m, ok := v.(markup); ok {
		return string(m)
	}
	s := e.str(v)
	if !utf8.ValidString(s) || strings.ContainsAny(s, `&<>'"`) {
		s = htmlEscapes.Replace(s)
	}
	return e.sized(s)
}

var htmlEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "'", "&#39;", `"`, "&#34;")
