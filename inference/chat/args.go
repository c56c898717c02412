package chat

import (
	"slices"
	"strings"
)

// args are evaluated arguments.
type args struct {
	list  []value
	names []string // of the named ones
	named []value
}

// bound are arguments in the order of the parameters; unset where there is none.
type bound []value

type unset struct{}

// bind gives the arguments to parameters. A name with an exclamation mark must be given.
func (a args) bind(e *env, function string, params ...string) bound {
	if len(a.list) > len(params) {
		e.fail("%s takes %d arguments at most, got %d", function, len(params), len(a.list))
	}
	b := make(bound, len(params))
	for i := range b {
		b[i] = unset{}
	}
	copy(b, a.list)
	for i, name := range a.names {
		at := slices.IndexFunc(params, func(p string) bool { return strings.TrimSuffix(p, "!") == name })
		if at < 0 {
			e.fail("%s has no argument %q", function, name)
		}
		if b.has(at) {
			e.fail("%s got two values for its argument %q", function, name)
		}
		b[at] = a.named[i]
	}
	for i, p := range params {
		if strings.HasSuffix(p, "!") && !b.has(i) {
			e.fail("%s wants its argument %q", function, strings.TrimSuffix(p, "!"))
		}
	}
	return b
}

func (b bound) has(i int) bool {
	_, no := b[i].(unset)
	return !no
}

// or returns the i-th argument, or the fallback.
func (b bound) or(i int, fallback value) value {
	if b.has(i) {
		return b[i]
	}
	return fallback
}

// text returns an argument that must be a text.
func (e *env) text(v value) string {
	s, ok := asText(v)
	if !ok {
		e.fail("want a text, got %s", className(v))
	}
	return s
}

// int returns an argument that must be an integer; a huge one is cut to 2⁶².
func (e *env) int(v value) int {
	switch n := v.(type) {
	case bool, int64:
		i, _ := integer(n)
		return int(min(max(i, -1<<62), 1<<62))
	}
	if isNumber(v) && !isFloat(v) {
		return toBig(v).Sign() << 62 >> 1
	}
	e.defined(v)
	e.fail("want an integer, got %s", className(v))
	return 0
}

// take returns the argument of that name, and the others.
func (a args) take(name string) (v value, rest args, ok bool) {
	i := slices.Index(a.names, name)
	if i < 0 {
		return nil, a, false
	}
	rest = args{a.list, slices.Delete(slices.Clone(a.names), i, i+1), slices.Delete(slices.Clone(a.named), i, i+1)}
	return a.named[i], rest, true
}
