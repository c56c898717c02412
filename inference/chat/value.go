package chat

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// A value is nil (None), undefined, bool, int64, float64, string, *list, *dict,
// *namespace, *loop, *macro or *builtin.
type value any

// undefined is what a name stands for that nothing was set to.
type undefined struct{ name string }

type list struct{ items []value }

// A dict keeps the order of its keys, as Python's does.
type dict struct {
	keys   []value
	values []value
	index  map[value]int // of the keys, which are texts, numbers, truth values or None
}

func newDict() *dict { return &dict{index: map[value]int{}} }

func (d *dict) set(k, v value) {
	if i, ok := d.index[k]; ok {
		d.values[i] = v
		return
	}
	d.index[k] = len(d.keys)
	d.keys, d.values = append(d.keys, k), append(d.values, v)
}

func (d *dict) get(k value) (value, bool) {
	if !hashable(k) {
		return nil, false
	}
	i, ok := d.index[k]
	if !ok {
		return nil, false
	}
	return d.values[i], true
}

// names returns the keys that are texts.
func (d *dict) names() (names []string) {
	for _, k := range d.keys {
		if s, ok := k.(string); ok {
			names = append(names, s)
		}
	}
	return names
}

// hashable tells whether v may be a key.
func hashable(v value) bool {
	switch v.(type) {
	case nil, bool, int64, float64, string:
		return true
	}
	return false
}

// A namespace is what set ns.x = … writes to.
type namespace struct{ vars map[string]value }

// A macro is a function of the template.
type macro struct {
	n     *macroNode
	scope *scope // where it was made
}

// A builtin is a function of ours.
type builtin struct {
	name string
	call func(e *env, line int, a args) value
}

// args are evaluated arguments.
type args struct {
	list  []value
	named map[string]value
}

// get returns the i-th argument, or the one of that name, or the fallback.
func (a args) get(i int, name string, fallback value) value {
	if i < len(a.list) {
		return a.list[i]
	}
	if v, ok := a.named[name]; ok {
		return v
	}
	return fallback
}

func truth(v value) bool {
	switch v := v.(type) {
	case nil, undefined:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case *list:
		return len(v.items) > 0
	case *dict:
		return len(v.keys) > 0
	}
	return true
}

func typeName(v value) string {
	switch v.(type) {
	case nil:
		return "None"
	case undefined:
		return "undefined"
	case bool:
		return "bool"
	case int64:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case *list:
		return "list"
	case *dict:
		return "dict"
	case *namespace:
		return "namespace"
	case *loop:
		return "loop"
	}
	return "function"
}

// number returns v as a float, and whether it is a number. True is 1, as in Python.
func number(v value) (float64, bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case int64:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

// equal is Python's ==.
func equal(a, b value, depth int) bool {
	if depth > maxDepth {
		return false
	}
	if x, ok := number(a); ok {
		y, ok := number(b)
		return ok && x == y
	}
	switch a := a.(type) {
	case nil:
		return b == nil
	case string:
		s, ok := b.(string)
		return ok && a == s
	case undefined:
		_, ok := b.(undefined)
		return ok
	case *list:
		o, ok := b.(*list)
		return ok && slices.EqualFunc(a.items, o.items, func(x, y value) bool { return equal(x, y, depth+1) })
	case *dict:
		o, ok := b.(*dict)
		if !ok || len(a.keys) != len(o.keys) {
			return false
		}
		for i, k := range a.keys {
			v, ok := o.get(k)
			if !ok || !equal(a.values[i], v, depth+1) {
				return false
			}
		}
		return true
	}
	return a == b
}

// compare orders two numbers or two texts.
func compare(a, b value) (int, bool) {
	x, ok1 := number(a)
	y, ok2 := number(b)
	if ok1 && ok2 {
		return cmp.Compare(x, y), true
	}
	s, ok1 := a.(string)
	t, ok2 := b.(string)
	return cmp.Compare(s, t), ok1 && ok2
}

// str is Python's str: what is printed.
func str(v value) string {
	switch v := v.(type) {
	case undefined:
		return ""
	case string:
		return v
	}
	var b strings.Builder
	repr(&b, v, 0)
	return b.String()
}

// repr writes v as Python's repr does.
func repr(b *strings.Builder, v value, depth int) {
	if depth > maxDepth || b.Len() > maxBytes {
		b.WriteString("...")
		return
	}
	switch v := v.(type) {
	case nil:
		b.WriteString("None")
	case bool:
		b.WriteString(map[bool]string{true: "True", false: "False"}[v])
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
	case float64:
		b.WriteString(floatText(v))
	case string:
		quote := "'"
		if strings.Contains(v, "'") && !strings.Contains(v, `"`) {
			quote = `"`
		}
		b.WriteString(quote + strings.NewReplacer("\\", `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`, quote, `\`+quote).Replace(v) + quote)
	case *list:
		b.WriteString("[")
		for i, item := range v.items {
			if i > 0 {
				b.WriteString(", ")
			}
			repr(b, item, depth+1)
		}
		b.WriteString("]")
	case *dict:
		b.WriteString("{")
		for i, k := range v.keys {
			if i > 0 {
				b.WriteString(", ")
			}
			repr(b, k, depth+1)
			b.WriteString(": ")
			repr(b, v.values[i], depth+1)
		}
		b.WriteString("}")
	default:
		b.WriteString("<" + typeName(v) + ">")
	}
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

// fromJSON reads one JSON value and keeps the order of keys.
func fromJSON(raw []byte) (value, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	v, err := decode(d, 0)
	if err != nil {
		return nil, fmt.Errorf("JSON: %w", err)
	}
	if d.More() {
		return nil, errors.New("JSON: more than one value")
	}
	return v, nil
}

func decode(d *json.Decoder, depth int) (value, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("nested more than %d deep", maxDepth)
	}
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Number:
		if n, err := t.Int64(); err == nil {
			return n, nil
		}
		f, err := t.Float64()
		return f, err
	case json.Delim:
		if t == '[' {
			return decodeList(d, depth)
		}
		return decodeDict(d, depth)
	}
	return t, nil // nil, bool, string
}

func decodeList(d *json.Decoder, depth int) (value, error) {
	l := &list{}
	for d.More() {
		v, err := decode(d, depth+1)
		if err != nil {
			return nil, err
		}
		l.items = append(l.items, v)
	}
	_, err := d.Token()
	return l, err
}

func decodeDict(d *json.Decoder, depth int) (value, error) {
	m := newDict()
	for d.More() {
		k, err := d.Token()
		if err != nil {
			return nil, err
		}
		v, err := decode(d, depth+1)
		if err != nil {
			return nil, err
		}
		m.set(k, v)
	}
	_, err := d.Token()
	return m, err
}
