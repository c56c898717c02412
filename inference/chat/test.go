package chat

// comparisonTests are the tests that are operators, too.
var comparisonTests = map[string]string{
	"==": "==", "eq": "==", "equalto": "==", "!=": "!=", "ne": "!=", "in": "in",
	"<": "<", "lt": "<", "lessthan": "<", "<=": "<=", "le": "<=",
	">": ">", "gt": ">", "greaterthan": ">", ">=": ">=", "ge": ">=",
}

// plainTests take a value and nothing else.
var plainTests map[string]func(e *env, v value) bool

func init() {
	plainTests = map[string]func(e *env, v value) bool{
		"defined":   func(_ *env, v value) bool { return !isUndefined(v) },
		"undefined": func(_ *env, v value) bool { return isUndefined(v) },
		"none":      func(_ *env, v value) bool { return v == nil },
		"true":      func(_ *env, v value) bool { b, ok := v.(bool); return ok && b },
		"false":     func(_ *env, v value) bool { b, ok := v.(bool); return ok && !b },
		"boolean":   func(_ *env, v value) bool { _, ok := v.(bool); return ok },
		"integer":   func(_ *env, v value) bool { return typeName(v) == "int" },
		"float":     func(_ *env, v value) bool { return isFloat(v) },
		"number":    func(_ *env, v value) bool { return isNumber(v) },
		"string":    func(_ *env, v value) bool { _, ok := asText(v); return ok },
		"mapping":   func(_ *env, v value) bool { _, ok := v.(*dict); return ok },
		"escaped":   func(_ *env, v value) bool { _, ok := v.(markup); return ok },
		"iterable":  isIterable,
		"sequence":  isSequence,
		"callable":  isCallable,
		"lower":     func(e *env, v value) bool { return textMethods["islower"](e, e.str(v), args{}).(bool) },
		"upper":     func(e *env, v value) bool { return textMethods["isupper"](e, e.str(v), args{}).(bool) },
		"odd":       func(e *env, v value) bool { return e.remainder(v, int64(2), 1) },
		"even":      func(e *env, v value) bool { return e.remainder(v, int64(2), 0) },
		"filter":    func(e *env, v value) bool { _, ok := filters[e.str(v)]; return ok },
		"test": func(e *env, v value) bool {
			_, ok := plainTests[e.str(v)]
			return ok || comparisonTests[e.str(v)] != ""
		},
	}
}

func isUndefined(v value) bool {
	_, ok := v.(undefined)
	return ok
}

func isIterable(_ *env, v value) bool {
	switch v.(type) {
	case string, markup, *list, *dict, *iterator, undefined, *loop:
		return true
	}
	return false
}

func isSequence(_ *env, v value) bool {
	switch v := v.(type) {
	case string, markup, *dict, undefined:
		return true
	case *list:
		return v.kind <= numberRange
	}
	return false
}

func isCallable(_ *env, v value) bool {
	switch v.(type) {
	case *builtin, *macro, *loop, undefined:
		return true
	}
	return false
}

// remainder tells whether v % by is what it should be.
func (e *env) remainder(v, by value, want int64) bool {
	return e.equal(e.arithmetic("%", v, by), want)
}

// test is "v is name(a)".
func (e *env) test(name string, v value, a args) bool {
	e.step(1)
	e.scan(v)
	if op, ok := comparisonTests[name]; ok {
		return e.holds(op, v, a.bind(e, name, "other!")[0])
	}
	switch name {
	case "divisibleby":
		return e.remainder(v, a.bind(e, name, "num!")[0], 0)
	case "sameas":
		return e.same(v, a.bind(e, name, "other!")[0])
	}
	f, ok := plainTests[name]
	if !ok {
		e.fail("unknown test %q", name)
	}
	a.bind(e, name)
	return f(e, v)
}

// same is Python's is, where equal texts and small numbers are one.
func (e *env) same(a, b value) bool {
	switch x := a.(type) {
	case *list:
		y, ok := b.(*list)
		return ok && x == y
	case *dict:
		y, ok := b.(*dict)
		return ok && x == y
	}
	return typeName(a) == typeName(b) && e.equal(a, b)
}
