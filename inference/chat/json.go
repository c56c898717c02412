package chat

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// A writer writes JSON as Python's json.dumpsdoes, with ensure_ascii=False unless told otherwise, in one
// line with blanks, or indented.
type writer struct {
	b      strings.Builder
	indent int  // −1: one line
	ascii  bool // everything else is escaped
	line   int
}

func (w *writer) value(v value, depth int) {
	if depth > maxDepth || w.b.Len() > maxBytes {
		fail(w.line, "tojson: too large")
	}
	switch v := v.(type) {
	case nil:
		w.b.WriteString("null")
	case bool:
		w.b.WriteString(strconv.FormatBool(v))
	case int64, float64:
		w.b.WriteString(str(v))
	case string:
		w.str(v)
	case *list:
		w.group('[', ']', len(v.items), depth, func(i int) { w.value(v.items[i], depth+1) })
	case *dict:
		w.group('{', '}', len(v.keys), depth, func(i int) {
			w.key(v.keys[i])
			w.b.WriteString(": ")
			w.value(v.values[i], depth+1)
		})
	default:
		fail(w.line, "tojson: a value of type %s has no JSON", typeName(v))
	}
}

func (w *writer) key(k value) {
	if s, ok := k.(string); ok {
		w.str(s)
		return
	}
	inner := writer{indent: -1, line: w.line, ascii: w.ascii}
	inner.value(k, 0)
	w.str(inner.b.String())
}

// group writes n items in brackets.
func (w *writer) group(open, shut byte, n, depth int, item func(int)) {
	w.b.WriteByte(open)
	for i := range n {
		if i > 0 {
			w.b.WriteByte(',')
			if w.indent < 0 {
				w.b.WriteByte(' ')
			}
		}
		w.newline(depth + 1)
		item(i)
	}
	if n > 0 {
		w.newline(depth)
	}
	w.b.WriteByte(shut)
}

func (w *writer) newline(depth int) {
	if w.indent >= 0 {
		w.b.WriteString("\n" + strings.Repeat(" ", w.indent*depth))
	}
}

// str writes a string; only what JSON demands is escaped.
func (w *writer) str(s string) {
	w.b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			w.b.WriteByte('\\')
			w.b.WriteRune(r)
		case r == '\n':
			w.b.WriteString(`\n`)
		case r == '\r':
			w.b.WriteString(`\r`)
		case r == '\t':
			w.b.WriteString(`\t`)
		case r == '\b':
			w.b.WriteString(`\b`)
		case r == '\f':
			w.b.WriteString(`\f`)
		case r < 0x20:
			w.b.WriteString(`\u00` + string("0123456789abcdef"[r>>4]) + string("0123456789abcdef"[r&15]))
		case w.ascii && r >= 0x7f:
			for _, unit := range utf16.Encode([]rune{r}) {
				fmt.Fprintf(&w.b, `\u%04x`, unit)
			}
		default:
			w.b.Write(utf8.AppendRune(nil, r))
		}
	}
	w.b.WriteByte('"')
}
