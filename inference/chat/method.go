package chat

import (
	"slices"
	"strings"
)

// attribute is v.name: an attribute or a method, else an item.
func (e *env) attribute(v value, name string) value {
	e.step(1)
	e.defined(v)
	if f, ok := e.member(v, name); ok {
		return f
	}
	if d, ok := v.(*dict); ok {
		if item, ok := d.get(name); ok {
			return item
		}
	}
	return lacks(v, name)
}

// item is v[i]: an item, else an attribute or a method.
func (e *env) item(v, i value) value {
	e.step(1)
	e.defined(v)
	e.scan(v, i)
	switch v := v.(type) {
	case *dict:
		if item, ok := v.get(i); ok {
			return item
		}
	case *list:
		if item, ok := v.at(i); ok {
			return item
		}
	case string, markup:
		if n, ok := integer(i); ok {
			return e.character(v, n)
		}
	}
	if name, ok := asText(i); ok {
		if f, ok := e.member(v, name); ok {
			return f
		}
		return lacks(v, name)
	}
	return undefined{quoted(v) + " has no element " + e.str(i)}
}

func lacks(v value, name string) undefined {
	what := quoted(v)
	if v == nil {
		what = "'None'"
	}
	return undefined{what + " has no attribute '" + name + "'"}
}

func (l *list) at(i value) (value, bool) {
	n, ok := integer(i)
	if !ok || l.kind > numberRange {
		return nil, false
	}
	if n < 0 {
		n += int64(len(l.items))
	}
	if n < 0 || n >= int64(len(l.items)) {
		return nil, false
	}
	return l.items[n], true
}

// character is the n-th character of a text.
func (e *env) character(v value, n int64) value {
	s, _ := asText(v)
	if n < 0 {
		count, _ := length(v)
		n += int64(count)
	}
	if n >= 0 {
		for _, r := range s {
			if n == 0 {
				return like(v, string(r))
			}
			n--
		}
	}
	return undefined{quoted(v) + " has no such element"}
}

// member is what Python's getattr finds, and whether it finds it. What begins with
// an underscore or changes a value is unsafe: undefined.
func (e *env) member(v value, name string) (value, bool) {
	if strings.HasPrefix(name, "_") {
		return nil, false
	}
	var f func(e *env, a args) value
	switch v := v.(type) {
	case *namespace:
		return v.vars.get(name)
	case *loop:
		return v.get(name)
	case *macro:
		if name == "name" {
			return v.n.name, true
		}
	case string, markup:
		f = textMethod(v, name)
	case *list:
		if i := slices.Index(v.names, name); i >= 0 {
			return v.items[i], true
		}
		f = listMethod(v, name)
	case *dict:
		f = dictMethod(v, name)
	}
	if changes(v, name) {
		return undefined{"access to attribute '" + name + "' of " + quoted(v) + " is unsafe."}, true
	}
	if f == nil {
		return nil, false
	}
	return &builtin{name, f}, true
}

// changes tells whether a method would change v.
func changes(v value, name string) bool {
	switch v := v.(type) {
	case *list:
		return v.kind == plainList && slices.Contains([]string{"append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"}, name)
	case *dict:
		return slices.Contains([]string{"clear", "pop", "popitem", "setdefault", "update"}, name)
	}
	return false
}

// dictMethod returns a method of a dict, nil for any other name.
func dictMethod(d *dict, name string) func(e *env, a args) value {
	if kind, ok := map[string]listKind{"items": dictItems, "keys": dictKeys, "values": dictValues}[name]; ok {
		return func(e *env, a args) value {
			a.bind(e, name)
			e.step(len(d.keys))
			return d.view(kind)
		}
	}
	switch name {
	case "get":
		return func(e *env, a args) value {
			b := a.bind(e, name, "key!", "default")
			if _, ok := hash(b[0]); !ok {
				e.fail("unhashable type: '%s'", className(b[0]))
			}
			if v, ok := d.get(b[0]); ok {
				return v
			}
			return b.or(1, nil)
		}
	case "copy":
		return func(e *env, _ args) value { return makeDict(e, args{list: []value{d}}) }
	case "fromkeys":
		return func(e *env, a args) value {
			b, made := a.bind(e, name, "iterable!", "value"), newDict()
			for _, k := range e.iterate(b[0]) {
				if !made.set(k, b.or(1, nil)) {
					e.fail("unhashable type: '%s'", className(k))
				}
			}
			return made
		}
	}
	return nil
}

// listMethod returns a method of a list or tuple, nil for any other name.
func listMethod(l *list, name string) func(e *env, a args) value {
	switch {
	case l.kind > numberRange:
		return nil
	case name == "copy" && l.kind == plainList:
		return func(*env, args) value { return l }
	case name == "index":
		return func(e *env, a args) value {
			b := a.bind(e, name, "value!", "start", "stop")
			from, to := span(e, b, len(l.items))
			for i := from; i < to; i++ {
				if e.equal(l.items[i], b[0]) {
					return int64(i)
				}
			}
			e.fail("%s is not in list", e.repr(b[0]))
			return nil
		}
	case name == "count":
		return func(e *env, a args) value {
			b, n := a.bind(e, name, "value!"), int64(0)
			for _, v := range l.items {
				if e.equal(v, b[0]) {
					n++
				}
			}
			return n
		}
	}
	return nil
}

// span are the bounds that the second and third argument give to n items.
func span(e *env, b bound, n int) (from, to int) {
	to = n
	at := func(i, fallback int) int {
		v := b.or(i, nil)
		if v == nil {
			return fallback
		}
		k := e.int(v)
		if k < 0 {
			k += n
		}
		return min(max(k, 0), n)
	}
	return at(1, 0), at(2, to)
}
