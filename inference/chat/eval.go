package chat

import "slices"

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
		kind  listKind
	}
	dictExpr struct {
		line         int
		keys, values []expr
	}
	ifExpr struct {
		line               int
		cond, then, orElse expr // orElse may be nil
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
	signExpr struct {
		line  int
		of    expr
		minus bool
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
		parts [3]expr // any may be nil
	}
	argExprs struct {
		list       []expr
		names      []string
		named      []expr
		rest, dict expr // behind * and **
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
	// A captureExpr is what its body writes.
	captureExpr struct {
		line int
		body []node
	}
)

func (x *constExpr) eval(*env) value { return x.v }

func (x *nameExpr) eval(e *env) value {
	e.line = x.line
	e.step(1)
	if v, ok := e.scope.get(x.name); ok {
		return v
	}
	if f, ok := globals[x.name]; ok {
		return f
	}
	return undefined{"'" + x.name + "' is undefined"}
}

func (x *listExpr) eval(e *env) value {
	l := &list{kind: x.kind}
	for _, item := range x.items {
		l.items = append(l.items, item.eval(e))
	}
	e.step(1 + len(l.items))
	return l
}

func (x *dictExpr) eval(e *env) value {
	d := newDict()
	for i, k := range x.keys {
		key := k.eval(e)
		e.scan(key)
		v := x.values[i].eval(e)
		if e.line = x.line; !d.set(key, v) {
			e.fail("unhashable type: '%s'", className(key))
		}
	}
	e.step(1 + len(d.keys))
	return d
}

func (x *ifExpr) eval(e *env) value {
	if truth(x.cond.eval(e)) {
		return x.then.eval(e)
	}
	if x.orElse == nil {
		return undefined{"the inline if-expression evaluated to false and no else section was defined"}
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
		e.line = x.line
		e.step(1)
		if !e.holds(c.op, a, b) {
			return false
		}
		a = b
	}
	return true
}

func (x *mathExpr) eval(e *env) value {
	a, b := x.a.eval(e), x.b.eval(e)
	e.line = x.line
	return e.arithmetic(x.op, a, b)
}

func (x *signExpr) eval(e *env) value {
	v := x.of.eval(e)
	e.line = x.line
	if n := e.negative(v); x.minus {
		return n
	}
	if b, ok := v.(bool); ok {
		v, _ = integer(b)
	}
	return v
}

func (x *attrExpr) eval(e *env) value {
	v := x.of.eval(e)
	e.line = x.line
	return e.attribute(v, x.name)
}

func (x *indexExpr) eval(e *env) value {
	of := x.of.eval(e)
	if s, ok := x.i.(*sliceExpr); ok {
		return s.cut(e, of)
	}
	i := x.i.eval(e)
	e.line = x.line
	return e.item(of, i)
}

func (x *sliceExpr) eval(e *env) value {
	e.line = x.line
	e.fail("a slice among other subscripts")
	return nil
}

// cut is v[from:to:step].
func (x *sliceExpr) cut(e *env, of value) value {
	var bounds [3]*int
	for i, p := range x.parts {
		if p == nil {
			continue
		}
		if v := p.eval(e); v != nil {
			e.line = x.line
			n := e.int(v)
			bounds[i] = &n
		}
	}
	e.line = x.line
	e.defined(of)
	e.scan(of)
	switch v := of.(type) {
	case string, markup:
		s, _ := asText(v)
		e.room(len(s))
		e.scan(v)
		return like(v, string(cut(e, []rune(s), bounds)))
	case *list:
		if v.kind <= tuple {
			items := cut(e, v.items, bounds)
			e.step(len(items))
			return &list{items: items, kind: v.kind}
		}
		if v.kind == numberRange {
			from, to, step := slice(e, len(v.items), bounds)
			return &list{items: cut(e, v.items, bounds), kind: numberRange, bounds: v.bounds.cut(from, to, step)}
		}
	}
	return undefined{quoted(of) + " has no such slice"}
}

// cut is Python's s[from:to:step].
func cut[T any](e *env, s []T, b [3]*int) (out []T) {
	from, to, step := slice(e, len(s), b)
	for i := from; step > 0 && i < to || step < 0 && i > to; i += step {
		out = append(out, s[i])
	}
	return out
}

// slice makes the bounds of a slice of n items such that they are inside.
func slice(e *env, n int, b [3]*int) (from, to, step int) {
	step = 1
	if b[2] != nil {
		step = min(max(*b[2], -n-1), n+1) // further steps leave the text as well
	}
	if step == 0 {
		e.fail("slice step cannot be zero")
	}
	low, high := 0, n // where a bound may lie
	if step < 0 {
		low, high = -1, n-1
	}
	bound := func(p *int, fallback int) int {
		if p == nil {
			return fallback
		}
		i := *p
		if i < 0 {
			i += n
		}
		return min(max(i, low), high)
	}
	if step < 0 {
		return bound(b[0], high), bound(b[1], low), step
	}
	return bound(b[0], low), bound(b[1], high), step
}

func (x *argExprs) eval(e *env) args {
	a := args{names: append([]string(nil), x.names...)}
	for _, v := range x.list {
		a.list = append(a.list, v.eval(e))
	}
	if x.rest != nil {
		a.list = append(a.list, e.iterate(x.rest.eval(e))...)
	}
	for _, v := range x.named {
		a.named = append(a.named, v.eval(e))
	}
	if x.dict != nil {
		d, ok := x.dict.eval(e).(*dict)
		if !ok {
			e.fail("want a dict behind **")
		}
		for i, k := range d.keys {
			if slices.Contains(a.names, e.text(k)) {
				e.fail("got two values for the argument %q", e.text(k))
			}
			a.names = append(a.names, e.text(k))
			a.named = append(a.named, d.values[i])
		}
		e.step(len(d.keys) * len(d.keys) / 8)
	}
	return a
}

func (x *callExpr) eval(e *env) (v value) {
	f, a := x.of.eval(e), x.args.eval(e)
	e.line = x.line
	return e.call(f, a)
}

func (e *env) call(f value, a args) (v value) {
	e.step(1)
	line := e.line
	switch f := f.(type) {
	case *builtin:
		v = f.call(e, a)
	case *macro:
		v = f.call(e, a)
	case *loop:
		v = f.call(e, a)
	default:
		e.defined(f)
		e.fail("%s is not callable", quoted(f))
	}
	e.line = line
	return v
}

func (x *filterExpr) eval(e *env) value {
	v, a := x.of.eval(e), x.args.eval(e)
	e.line = x.line
	return e.filter(x.name, v, a)
}

func (x *testExpr) eval(e *env) value {
	v, a := x.of.eval(e), x.args.eval(e)
	e.line = x.line
	return e.test(x.name, v, a) != x.not
}

func (x *captureExpr) eval(e *env) (v value) {
	e.inner(map[string]value{}, func() {
		e.deeper(func() { v = e.capture(x.body) })
	})
	e.line = x.line
	return v
}
