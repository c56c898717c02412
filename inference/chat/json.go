package chat

import (
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// A writer writes JSON as Python's json.dumps does.
type writer struct {
	e         *env
	b         strings.Builder
	lines     bool   // each item in a line of its own
	indent    string // for each depth
	comma     string
	colon     string
	ascii     bool
	sortNames bool
}

// toJSON is the filter tojson as transformers has it.
func (e *env) toJSON(v value, a args) value {
	b := a.bind(e, "tojson", "ensure_ascii", "indent", "separators", "sort_keys")
	w := &writer{e: e, comma: ", ", colon: ": ", ascii: truth(b.or(0, false)), sortNames: truth(b.or(3, false))}
	switch n := b.or(1, nil).(type) {
	case nil:
	case int64, bool:
		i, _ := integer(n)
		if i > 64 {
			e.fail("tojson: an indent of %d", i)
		}
		w.lines, w.comma, w.indent = true, ",", strings.Repeat(" ", int(max(i, 0)))
	default:
		w.lines, w.comma, w.indent = true, ",", e.text(n)
		if len(w.indent) > 64 {
			e.fail("tojson: an indent of %d bytes", len(w.indent))
		}
	}
	if s := b.or(2, nil); s != nil {
		pair := e.iterate(s)
		if len(pair) != 2 {
			e.fail("tojson: want two separators, got %d", len(pair))
		}
		w.comma, w.colon = e.text(pair[0]), e.text(pair[1])
	}
	w.value(v, 0)
	return e.sized(w.b.String())
}

func (w *writer) value(v value, depth int) {
	if depth > maxDepth || w.b.Len() > maxBytes {
		w.e.fail("tojson: more than %d bytes or nested more than %d deep", maxBytes, maxDepth)
	}
	switch v := v.(type) {
	case nil:
		w.b.WriteString("null")
	case bool:
		w.b.WriteString(strconv.FormatBool(v))
	case int64:
		w.b.WriteString(strconv.FormatInt(v, 10))
	case *big.Int:
		w.b.WriteString(v.String())
	case float64:
		w.b.WriteString(jsonFloat(v))
	case string:
		w.str(v)
	case markup:
		w.str(string(v))
	case *list:
		if v.kind > tuple {
			w.refuse(v)
		}
		w.group('[', ']', len(v.items), depth, func(i int) { w.value(v.items[i], depth+1) })
	case *dict:
		w.dict(v, depth)
	default:
		w.refuse(v)
	}
}

func (w *writer) refuse(v value) {
	w.e.fail("Object of type %s is not JSON serializable", typeName(v))
}

func jsonFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return floatText(f)
}

func (w *writer) dict(d *dict, depth int) {
	order := make([]int, len(d.keys))
	for i := range order {
		order[i] = i
	}
	if w.sortNames {
		slices.SortStableFunc(order, func(i, j int) int { return w.e.compare("<", d.keys[i], d.keys[j]) })
	}
	w.group('{', '}', len(order), depth, func(i int) {
		w.str(w.key(d.keys[order[i]]))
		w.b.WriteString(w.colon)
		w.value(d.values[order[i]], depth+1)
	})
}

// key is the name that a key gets.
func (w *writer) key(k value) string {
	switch k := k.(type) {
	case nil:
		return "null"
	case bool:
		return strconv.FormatBool(k)
	case float64:
		return jsonFloat(k)
	case string, markup, int64, *big.Int:
		return w.e.str(k)
	}
	w.e.fail("keys must be str, int, float, bool or None, not %s", className(k))
	return ""
}

// group writes n items in brackets.
func (w *writer) group(open, shut byte, n, depth int, item func(int)) {
	w.b.WriteByte(open)
	for i := range n {
		if i > 0 {
			w.b.WriteString(w.comma)
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
	if w.lines {
		w.b.WriteString("\n" + strings.Repeat(w.indent, depth))
	}
}

var jsonEscapes = map[rune]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\b': `\b`, '\f': `\f`}

// str writes a string; only what JSON demands is escaped, or all but ASCII.
func (w *writer) str(s string) {
	w.b.WriteByte('"')
	for _, r := range s {
		escape, ok := jsonEscapes[r]
		switch {
		case ok:
			w.b.WriteString(escape)
		case r > 0xffff && w.ascii:
			hi, lo := utf16.EncodeRune(r)
			w.b.WriteString(`\u` + hex(hi, 4) + `\u` + hex(lo, 4))
		case r < 0x20 || r > 0x7e && w.ascii:
			w.b.WriteString(`\u` + hex(r, 4))
		default:
			w.b.WriteRune(r)
		}
	}
	w.b.WriteByte('"')
}
