package chat

import (
	"cmp"
	"math/big"
	"strings"
)

// equal is Python's ==.
func (e *env) equal(a, b value) (is bool) {
	e.step(1)
	if c, ok := compareNumbers(a, b); ok {
		return c == 0
	}
	if s, ok := asText(a); ok {
		t, ok := asText(b)
		if !ok || len(s) != len(t) {
			return false
		}
		e.scan(a)
		return s == t
	}
	switch a := a.(type) {
	case undefined:
		_, ok := b.(undefined)
		return ok
	case *list:
		o, ok := b.(*list)
		if !ok || len(a.items) != len(o.items) || a.kind != o.kind {
			return false
		}
		e.deeper(func() {
			for i, x := range a.items {
				if is = e.equal(x, o.items[i]); !is {
					return
				}
			}
			is = true
		})
		return is
	case *dict:
		o, ok := b.(*dict)
		if !ok || len(a.keys) != len(o.keys) {
			return false
		}
		e.deeper(func() {
			for i, k := range a.keys {
				v, ok := o.get(k)
				if is = ok && e.equal(a.values[i], v); !is {
					return
				}
			}
			is = true
		})
		return is
	}
	return isReference(a) && a == b
}

// isReference tells whether a is equal only to itself.
func isReference(a value) bool {
	switch a.(type) {
	case nil, bool, *namespace, *loop, *macro, *builtin, *iterator:
		return true
	}
	return false
}

// compareNumbers orders two numbers exactly; not a number is unordered: 2.
func compareNumbers(a, b value) (int, bool) {
	i, ok1 := integer(a)
	j, ok2 := integer(b)
	if ok1 && ok2 {
		return cmp.Compare(i, j), true
	}
	if !isNumber(a) || !isNumber(b) {
		return 0, false
	}
	f, g := toFloat(a), toFloat(b)
	if f != f || g != g {
		return 2, true
	}
	if _, ok := a.(float64); ok || isFloat(b) {
		return cmp.Compare(f, g), true
	}
	return toBig(a).Cmp(toBig(b)), true
}

func isFloat(v value) bool {
	_, ok := v.(float64)
	return ok
}

func isNumber(v value) bool {
	switch v.(type) {
	case bool, int64, *big.Int, float64:
		return true
	}
	return false
}

// compare orders two values as < does in Python; op is for the message.
func (e *env) compare(op string, a, b value) (c int) {
	e.step(1)
	if c, ok := compareNumbers(a, b); ok {
		return c
	}
	s, ok1 := asText(a)
	t, ok2 := asText(b)
	if ok1 && ok2 {
		e.scan(a)
		return strings.Compare(s, t)
	}
	x, ok1 := a.(*list)
	y, ok2 := b.(*list)
	if ok1 && ok2 && x.kind == y.kind && x.kind <= tuple {
		e.deeper(func() { c = e.compareLists(op, x, y) })
		return c
	}
	e.defined(a)
	e.defined(b)
	e.fail("'%s' not supported between instances of '%s' and '%s'", op, className(a), className(b))
	return 0
}

func (e *env) compareLists(op string, x, y *list) int {
	for i := range min(len(x.items), len(y.items)) {
		if !e.equal(x.items[i], y.items[i]) {
			return e.compare(op, x.items[i], y.items[i])
		}
	}
	return cmp.Compare(len(x.items), len(y.items))
}

// className is the name of a type in a message.
func className(v value) string {
	if v == nil {
		return "NoneType"
	}
	return typeName(v)
}

// holds is "a op b".
func (e *env) holds(op string, a, b value) bool {
	e.scan(a, b)
	switch op {
	case "==":
		return e.equal(a, b)
	case "!=":
		return !e.equal(a, b)
	case "in":
		return e.contains(b, a)
	case "not in":
		return !e.contains(b, a)
	}
	c := e.compare(op, a, b)
	switch op {
	case "<":
		return c == -1
	case "<=":
		return c == -1 || c == 0
	case ">":
		return c == 1
	}
	return c == 0 || c == 1
}

// contains is "item in v".
func (e *env) contains(v, item value) bool {
	if s, ok := asText(v); ok {
		sub, ok := asText(item)
		if !ok {
			e.fail("'in <string>' requires string as left operand, not %s", className(item))
		}
		return strings.Contains(s, sub)
	}
	switch v := v.(type) {
	case *dict:
		if _, ok := hash(item); !ok {
			e.fail("unhashable type: '%s'", className(item))
		}
		_, ok := v.get(item)
		return ok
	case *iterator:
		items := v.take()
		for i, x := range items {
			if e.equal(x, item) {
				v.make = func() []value { return items[i+1:] }
				return true
			}
		}
		return false
	}
	items, ok := e.items(v)
	if !ok {
		e.fail("argument of type '%s' is not iterable", className(v))
	}
	for _, x := range items {
		if e.equal(x, item) {
			return true
		}
	}
	return false
}
