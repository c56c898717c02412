package chat

import (
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// An expr is an expression.
type expr interface {
	eval(e *env) value
}

type (
	constExpr struct{ v value }
	nameExpr  struct {
		line int
		name string
	}
	listExpr struct {
		line  int
		items []expr
	}
	dictExpr struct {
		line         int
		keys, values []expr
	}
	ifExpr struct {
		line               int
		cond, then, orElse expr
	}
	logicExpr struct {
		line int
		a, b expr
		or   bool
	}
	notExpr struct {
		line int
		of   expr
	}
	compareExpr struct {
		line int
		a    expr
		rest []comparison
	}
	comparison struct {
		op string
		b  expr
	}
	mathExpr struct {
		line int
		op   string
		a, b expr
	}
	attrExpr struct {
		line int
		of   expr
		name string
	}
	indexExpr struct {
		line  int
		of, i expr
	}
	sliceExpr struct {
		line  int
		of    expr
		parts [3]expr
	}
	argExprs struct {
		list  []expr
		names []string
		named []expr
	}
	callExpr struct {
		line int
		of   expr
		args argExprs
	}
	filterExpr struct {
		line int
		of   expr
		name string
		args argExprs
	}
	testExpr struct {
		line int
		of   expr
		not  bool
		name string
		args argExprs
	}
)

func (x *constExpr) eval(*env) value { return x.v }

func (x *nameExpr) eval(e *env) value {
	e.step(x.line, 1)
	if v, ok := e.scope.get(x.name); ok {
		return v
	}
	if f, ok := globals[x.name]; ok {
		return f
	}
	return undefined{x.name}
}

func (x *listExpr) eval(e *env) value {
	l := &list{}
	for _, item := range x.items {
		l.items = append(l.items, item.eval(e))
	}
	e.step(x.line, 1+len(l.items))
	return l
}

func (x *dictExpr) eval(e *env) value {
	d := newDict()
	for i, k := range x.keys {
		key := k.eval(e)
		if !hashable(key) {
			fail(x.line, "a %s cannot be a key", typeName(key))
		}
		d.set(key, x.values[i].eval(e))
	}
	e.step(x.line, 1+len(d.keys))
	return d
}

func (x *ifExpr) eval(e *env) value {
	if truth(x.cond.eval(e)) {
		return x.then.eval(e)
	}
	return x.orElse.eval(e)
}

func (x *logicExpr) eval(e *env) value {
	if a := x.a.eval(e); truth(a) == x.or {
		return a
	}
	return x.b.eval(e)
}

func (x *notExpr) eval(e *env) value { return !truth(x.of.eval(e)) }

func (x *compareExpr) eval(e *env) value {
	a := x.a.eval(e)
	for _, c := range x.rest {
		b := c.b.eval(e)
		e.step(x.line, 1)
		if !e.holds(x.line, c.op, a, b) {
			return false
		}
		a = b
	}
	return true
}

func (e *env) holds(line int, op string, a, b value) bool {
	switch op {
	case "==":
		return equal(a, b, 0)
	case "!=":
		return !equal(a, b, 0)
	case "in":
		return e.contains(line, b, a)
	case "not in":
		return !e.contains(line, b, a)
	}
	c, ok := compare(a, b)
	if !ok {
		fail(line, "a %s and a %s cannot be compared by %s", typeName(a), typeName(b), op)
	}
	switch op {
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	}
	return c >= 0
}

// contains is "item in v".
func (e *env) contains(line int, v, item value) bool {
	switch v := v.(type) {
	case string:
		s, ok := item.(string)
		if !ok {
			fail(line, "only a text can be in a text, not a %s", typeName(item))
		}
		return strings.Contains(v, s)
	case *dict:
		_, ok := v.get(item)
		return ok
	}
	for _, x := range e.iterate(line, v) {
		if equal(x, item, 0) {
			return true
		}
	}
	return false
}

func (x *mathExpr) eval(e *env) value {
	a, b := x.a.eval(e), x.b.eval(e)
	e.step(x.line, 1)
	if x.op == "~" {
		return e.sized(x.line, str(a)+str(b))
	}
	for _, v := range []value{a, b} {
		if u, ok := v.(undefined); ok {
			missing(x.line, u, "so "+x.op+" cannot be done")
		}
	}
	if v, ok := e.sequences(x.line, x.op, a, b); ok {
		return v
	}
	i, ok1 := a.(int64)
	j, ok2 := b.(int64)
	if ok1 && ok2 && x.op != "/" && (x.op != "**" || j >= 0) {
		return integers(x.line, x.op, i, j)
	}
	f, ok1 := number(a)
	g, ok2 := number(b)
	if !ok1 || !ok2 {
		fail(x.line, "%s between a %s and a %s is not possible", x.op, typeName(a), typeName(b))
	}
	return floats(x.line, x.op, f, g)
}

// sequences adds and repeats texts and lists.
func (e *env) sequences(line int, op string, a, b value) (value, bool) {
	switch x := a.(type) {
	case string:
		if y, ok := b.(string); ok && op == "+" {
			return e.sized(line, x+y), true
		}
		if n, ok := b.(int64); ok && op == "*" {
			if n > 0 && int64(len(x)) > maxBytes/n {
				fail(line, "makes a text of more than %d bytes", maxBytes)
			}
			return e.sized(line, strings.Repeat(x, int(max(n, 0)))), true
		}
	case *list:
		if y, ok := b.(*list); ok && op == "+" {
			e.step(line, len(x.items)+len(y.items))
			return &list{append(slices.Clip(x.items), y.items...)}, true
		}
	}
	return nil, false
}

// integers computes with Python's rules: // and % round down.
func integers(line int, op string, i, j int64) value {
	switch op {
	case "+":
		return i + j
	case "-":
		return i - j
	case "*":
		return i * j
	case "**":
		return int64(math.Pow(float64(i), float64(j)))
	}
	if j == 0 {
		fail(line, "division by zero")
	}
	q, r := i/j, i%j
	if r != 0 && (r < 0) != (j < 0) {
		q, r = q-1, r+j
	}
	if op == "//" {
		return q
	}
	return r
}

func floats(line int, op string, f, g float64) value {
	switch op {
	case "+":
		return f + g
	case "-":
		return f - g
	case "*":
		return f * g
	case "**":
		return math.Pow(f, g)
	}
	if g == 0 {
		fail(line, "division by zero")
	}
	switch op {
	case "/":
		return f / g
	case "//":
		return math.Floor(f / g)
	}
	return f - g*math.Floor(f/g)
}

func (x *attrExpr) eval(e *env) value {
	return e.attribute(x.line, x.of.eval(e), x.name)
}

// attribute is v.name: a key of a dict, or a method.
func (e *env) attribute(line int, v value, name string) value {
	e.step(line, 1)
	switch v := v.(type) {
	case undefined:
		missing(line, v, "so it has no "+name)
	case *dict:
		if m := dictMethod(v, name); m != nil {
			return m
		}
		if item, ok := v.get(name); ok {
			return item
		}
	case *namespace:
		if item, ok := v.vars[name]; ok {
			return item
		}
	case *loop:
		return v.get(name)
	case string:
		if f, ok := textMethods[name]; ok {
			return &builtin{name, func(e *env, line int, a args) value { return f(e, line, v, a) }}
		}
	case *list:
		if m := listMethod(v, name); m != nil {
			return m
		}
	}
	return undefined{name}
}

func (x *indexExpr) eval(e *env) value {
	of, i := x.of.eval(e), x.i.eval(e)
	e.step(x.line, 1)
	switch v := of.(type) {
	case undefined:
		missing(x.line, v, "so it has no items")
	case *dict:
		if item, ok := v.get(i); ok {
			return item
		}
		return undefined{str(i)}
	case *namespace, *loop:
		return e.attribute(x.line, v, str(i))
	case *list:
		n, ok := i.(int64)
		if !ok {
			fail(x.line, "a list has no item %q", str(i))
		}
		if n < 0 {
			n += int64(len(v.items))
		}
		if n < 0 || n >= int64(len(v.items)) {
			return undefined{"item " + str(i)}
		}
		return v.items[n]
	case string:
		if n, ok := i.(int64); ok {
			r := []rune(v)
			if n < 0 {
				n += int64(len(r))
			}
			if n >= 0 && n < int64(len(r)) {
				return string(r[n])
			}
		}
		return undefined{"item " + str(i)}
	}
	fail(x.line, "a %s has no items", typeName(of))
	return nil
}

func (x *sliceExpr) eval(e *env) value {
	of := x.of.eval(e)
	var bounds [3]*int64
	for i, p := range x.parts {
		if p == nil {
			continue
		}
		switch n := p.eval(e).(type) {
		case nil:
		case int64:
			bounds[i] = &n
		default:
			fail(x.line, "the bounds of a slice are integers")
		}
	}
	switch v := of.(type) {
	case string:
		e.step(x.line, utf8.RuneCountInString(v)/64)
		return string(cut(x.line, []rune(v), bounds))
	case *list:
		e.step(x.line, len(v.items))
		return &list{cut(x.line, v.items, bounds)}
	}
	fail(x.line, "a %s cannot be sliced", typeName(of))
	return nil
}

// cut is Python's s[from:to:step].
func cut[T any](line int, s []T, b [3]*int64) []T {
	step, n := int64(1), int64(len(s))
	if b[2] != nil {
		step = *b[2]
	}
	if step == 0 {
		fail(line, "the step of a slice is zero")
	}
	low, high := int64(0), n // where a bound may lie
	if step < 0 {
		low, high = -1, n-1
	}
	bound := func(p *int64, fallback int64) int64 {
		if p == nil {
			return fallback
		}
		i := *p
		if i < 0 {
			i += n
		}
		return min(max(i, low), high)
	}
	from, to := bound(b[0], low), bound(b[1], high)
	if step < 0 {
		from, to = bound(b[0], high), bound(b[1], low)
	}
	var out []T
	for i := from; step > 0 && i < to || step < 0 && i > to; i += step {
		out = append(out, s[i])
	}
	return out
}

func (x *argExprs) eval(e *env) args {
	var a args
	for _, v := range x.list {
		a.list = append(a.list, v.eval(e))
	}
	for i, name := range x.names {
		if a.named == nil {
			a.named = map[string]value{}
		}
		a.named[name] = x.named[i].eval(e)
	}
	return a
}

func (x *callExpr) eval(e *env) (v value) {
	f, a := x.of.eval(e), x.args.eval(e)
	e.step(x.line, 1)
	switch f := f.(type) {
	case *builtin:
		return f.call(e, x.line, a)
	case *macro:
		return f.call(e, x.line, a)
	case undefined:
		missing(x.line, f, "so it cannot be called")
	}
	fail(x.line, "a %s cannot be called", typeName(f))
	return nil
}

func (x *filterExpr) eval(e *env) value {
	return e.filter(x.line, x.name, x.of.eval(e), x.args.eval(e))
}

func (x *testExpr) eval(e *env) value {
	return e.test(x.line, x.name, x.of.eval(e), x.args.eval(e)) != x.not
}
