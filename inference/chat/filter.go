package chat

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// filter is "v | name(a)".
func (e *env) filter(line int, name string, v value, a args) value {
	e.step(line, 1)
	switch name {
	case "tojson", "to_json":
		return e.toJSON(line, v, a)
	case "default", "d":
		_, u := v.(undefined)
		if u || truth(a.get(1, "boolean", false)) && !truth(v) {
			return a.get(0, "default_value", "")
		}
		return v
	case "length", "count":
		return e.length(line, v)
	case "string":
		return e.sized(line, str(v))
	case "safe", "e", "escape", "forceescape":
		if name != "safe" {
			fail(line, "unknown filter %q: prompts are not HTML", name)
		}
		return v
	case "int", "float", "abs", "round":
		return arithmetic(line, name, v, a)
	}
	if s, ok := e.textFilter(line, name, v, a); ok {
		return s
	}
	return e.listFilter(line, name, v, a)
}

func (e *env) toJSON(line int, v value, a args) value {
	if u, ok := v.(undefined); ok {
		missing(line, u, "so it has no JSON")
	}
	w := writer{indent: -1, line: line, ascii: truth(a.named["ensure_ascii"])}
	if n, ok := a.get(0, "indent", nil).(int64); ok {
		if n < 0 || n > 64 {
			fail(line, "tojson: an indent of %d", n)
		}
		w.indent = int(n)
	}
	for name := range a.named {
		if name != "indent" && name != "ensure_ascii" {
			fail(line, "tojson: %s is not supported", name)
		}
	}
	w.value(v, 0)
	return e.sized(line, w.b.String())
}

func (e *env) length(line int, v value) value {
	switch v := v.(type) {
	case string:
		return int64(utf8.RuneCountInString(v))
	case *list:
		return int64(len(v.items))
	case *dict:
		return int64(len(v.keys))
	case undefined:
		return int64(0)
	}
	fail(line, "a %s has no length", typeName(v))
	return nil
}

func arithmetic(line int, name string, v value, a args) value {
	f, ok := number(v)
	if s, text := v.(string); text {
		parsed, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
		f, ok = parsed, err == nil
	}
	switch name {
	case "int":
		if !ok || math.IsNaN(f) || math.Abs(f) >= 1<<63 {
			return a.get(0, "default", int64(0))
		}
		return int64(f)
	case "float":
		if !ok {
			return a.get(0, "default", float64(0))
		}
		return f
	}
	if !ok {
		fail(line, "%s: a %s is no number", name, typeName(v))
	}
	if name == "round" {
		digits, _ := a.get(0, "precision", int64(0)).(int64)
		p := math.Pow(10, float64(digits))
		return math.RoundToEven(f*p) / p
	}
	if n, whole := v.(int64); whole {
		return max(n, -n)
	}
	return math.Abs(f)
}

// textFilter are the filters that are methods of texts, too.
func (e *env) textFilter(line int, name string, v value, a args) (value, bool) {
	switch name {
	case "trim":
		if _, ok := v.(undefined); ok {
			return "", true
		}
		return strip(str(v), a.get(0, "chars", nil), true, true), true
	case "upper", "lower", "title", "capitalize":
		return textMethods[name](e, line, str(v), args{}), true
	case "replace":
		return replace(e, line, str(v), a), true
	case "split":
		return split(e, line, text(line, v), a, false), true
	case "indent":
		return e.indent(line, str(v), a), true
	case "join":
		if attr, ok := a.get(1, "attribute", nil).(string); ok {
			v = e.mapped(line, v, func(x value) value { return e.path(line, x, attr) })
		}
		return join(e, line, v, str(a.get(0, "d", ""))), true
	}
	return nil, false
}

// indent indents all lines, the first one and blank ones only when asked.
func (e *env) indent(line int, s string, a args) value {
	width := "    "
	switch n := a.get(0, "width", nil).(type) {
	case int64:
		if n < 0 || n > 256 {
			fail(line, "indent by %d", n)
		}
		width = strings.Repeat(" ", int(n))
	case string:
		width = n
	}
	if strings.Count(s, "\n")*len(width) > maxBytes {
		fail(line, "makes a text of more than %d bytes", maxBytes)
	}
	first, blank := truth(a.get(1, "first", false)), truth(a.get(2, "blank", false))
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if (i > 0 || first) && (l != "" || blank || i == 0) {
			lines[i] = width + l
		}
	}
	return e.sized(line, strings.Join(lines, "\n"))
}

// listFilter are the filters of lists and dicts.
func (e *env) listFilter(line int, name string, v value, a args) value {
	switch name {
	case "first", "last":
		items := e.iterate(line, v)
		if len(items) == 0 {
			return undefined{name + " item"}
		}
		if name == "first" {
			return items[0]
		}
		return items[len(items)-1]
	case "list":
		return &list{slices.Clone(e.iterate(line, v))}
	case "reverse":
		return e.reverse(line, v)
	case "items":
		d, ok := v.(*dict)
		if !ok {
			return &list{}
		}
		return pairs(e, line, d)
	case "dictsort":
		d, ok := v.(*dict)
		if !ok {
			fail(line, "dictsort of a %s", typeName(v))
		}
		l := pairs(e, line, d).(*list)
		slices.SortStableFunc(l.items, func(x, y value) int {
			return strings.Compare(strings.ToLower(str(x.(*list).items[0])), strings.ToLower(str(y.(*list).items[0])))
		})
		return l
	case "sort", "unique":
		return e.order(line, name, v, a)
	case "min", "max":
		return e.extreme(line, name, v, a)
	case "map", "select", "reject", "selectattr", "rejectattr":
		if !truth(v) { // nothing to choose from, not even of None
			return &list{}
		}
		return e.choose(line, name, v, a)
	}
	fail(line, "unknown filter %q", name)
	return nil
}

func (e *env) reverse(line int, v value) value {
	items := slices.Clone(e.iterate(line, v))
	slices.Reverse(items)
	if _, ok := v.(string); ok {
		return join(e, line, &list{items}, "")
	}
	return &list{items}
}

// extreme is the smallest or the largest item, the first of equal ones.
func (e *env) extreme(line int, name string, v value, a args) value {
	if len(e.iterate(line, v)) == 0 {
		return undefined{"item of an empty list"}
	}
	sorted := e.order(line, "sort", v, args{named: a.named}).(*list).items
	if name == "min" {
		return sorted[0]
	}
	last := len(sorted) - 1
	for last > 0 {
		if c, ok := compare(sorted[last-1], sorted[last]); !ok || c != 0 {
			break
		}
		last--
	}
	return sorted[last]
}

func (e *env) order(line int, name string, v value, a args) value {
	items := slices.Clone(e.iterate(line, v))
	key := func(x value) value { return x }
	if attr, ok := a.named["attribute"].(string); ok {
		key = func(x value) value { return e.path(line, x, attr) }
	}
	if name == "unique" {
		var kept []value
		for _, x := range items {
			e.step(line, len(kept)+1)
			if !slices.ContainsFunc(kept, func(y value) bool { return equal(key(x), key(y), 0) }) {
				kept = append(kept, x)
			}
		}
		return &list{kept}
	}
	slices.SortStableFunc(items, func(x, y value) int {
		c, ok := compare(key(x), key(y))
		if !ok {
			fail(line, "sort: a %s and a %s cannot be compared", typeName(key(x)), typeName(key(y)))
		}
		return c
	})
	if truth(a.get(0, "reverse", false)) {
		slices.Reverse(items)
	}
	return &list{items}
}

// path is an attribute by name, with points for attributes of attributes.
func (e *env) path(line int, v value, name string) value {
	for part := range strings.SplitSeq(name, ".") {
		if d, ok := v.(*dict); ok {
			item, there := d.get(part)
			if !there {
				return undefined{part}
			}
			v = item
			continue
		}
		v = e.attribute(line, v, part)
	}
	return v
}

func (e *env) mapped(line int, v value, f func(value) value) *list {
	out := &list{}
	for _, x := range e.iterate(line, v) {
		e.step(line, 1)
		out.items = append(out.items, f(x))
	}
	return out
}

// choose is map, and select and reject by a test of the item or its attribute.
func (e *env) choose(line int, name string, v value, a args) value {
	if attr, ok := a.named["attribute"].(string); ok && name == "map" {
		return e.mapped(line, v, func(x value) value {
			item := e.path(line, x, attr)
			if _, u := item.(undefined); u {
				return a.get(99, "default", item)
			}
			return item
		})
	}
	list1 := a.list
	attr := ""
	if strings.HasSuffix(name, "attr") {
		if len(list1) == 0 {
			fail(line, "%s wants an attribute", name)
		}
		attr, list1 = text(line, list1[0]), list1[1:]
	}
	if name == "map" {
		if len(list1) == 0 {
			fail(line, "map wants a filter or an attribute")
		}
		return e.mapped(line, v, func(x value) value {
			return e.filter(line, text(line, list1[0]), x, args{list: list1[1:]})
		})
	}
	return e.pick(line, v, attr, list1, strings.HasPrefix(name, "select"))
}

// pick keeps the items whose test is as wanted. Without a test it is their truth.
func (e *env) pick(line int, v value, attr string, test []value, want bool) value {
	out := &list{}
	for _, x := range e.iterate(line, v) {
		e.step(line, 1)
		item := x
		if attr != "" {
			item = e.path(line, x, attr)
		}
		is := truth(item)
		if len(test) > 0 {
			is = e.test(line, text(line, test[0]), item, args{list: test[1:]})
		}
		if is == want {
			out.items = append(out.items, x)
		}
	}
	return out
}
