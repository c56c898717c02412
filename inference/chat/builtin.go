package chat

import (
	"fmt"
	"slices"
)

// globals are the functions that every template has. What would read or make up
// something (lipsum, include) is not among them.
var globals map[string]value

func init() { // the functions evaluate, and evaluation looks into globals
	globals = map[string]value{}
	for name, f := range map[string]func(e *env, a args) value{
		"raise_exception": func(e *env, a args) value {
			panic(&Refusal{e.str(a.bind(e, "raise_exception", "message!")[0])})
		},
		"strftime_now": func(e *env, a args) value {
			format := e.text(a.bind(e, "strftime_now", "format!")[0])
			if len(format) > 1000 {
				e.fail("strftime_now: a format of %d bytes", len(format))
			}
			e.step(1 + len(format))
			return e.sized(strftime(e.now, format))
		},
		"namespace": makeNamespace, "dict": makeDict, "range": makeRange, "joiner": makeJoiner, "cycler": makeCycler,
		"lipsum": func(e *env, _ args) value {
			e.fail("lipsum is random, so it is not supported")
			return nil
		},
	} {
		globals[name] = &builtin{name, f}
	}
}

// makeDict is dict(pairs or dict, name=value…).
func makeDict(e *env, a args) value {
	d := newDict()
	if len(a.list) > 1 {
		e.fail("dict expected at most 1 argument, got %d", len(a.list))
	}
	if len(a.list) == 1 {
		e.update(d, a.list[0])
	}
	for i, name := range a.names {
		d.set(name, a.named[i])
	}
	return d
}

// update sets in d what another dict or pairs have.
func (e *env) update(d *dict, from value) {
	if o, ok := from.(*dict); ok {
		e.step(len(o.keys))
		for i, k := range o.keys {
			d.set(k, o.values[i])
		}
		return
	}
	for _, item := range e.iterate(from) {
		pair := e.iterate(item)
		if len(pair) != 2 {
			e.fail("a dict is made of pairs, but one has length %d", len(pair))
		}
		if !d.set(pair[0], pair[1]) {
			e.fail("unhashable type: '%s'", className(pair[0]))
		}
	}
}

func makeNamespace(e *env, a args) value {
	d := makeDict(e, a).(*dict)
	for _, k := range d.keys {
		if name, ok := asText(k); ok {
			e.nameable(name)
		}
	}
	return &namespace{d}
}

// maxRange is how many numbers a range may have in jinja2's sandbox.
const maxRange = 100000

// makeRange is range(to), range(from, to) or range(from, to, step).
func makeRange(e *env, a args) value {
	b := a.bind(e, "range", "from!", "to", "step")
	from, to, step := 0, e.int(b[0]), 1
	if b.has(1) {
		from, to = to, e.int(b[1])
	}
	if b.has(2) {
		step = e.int(b[2])
	}
	if step == 0 {
		e.fail("range() arg 3 must not be zero")
	}
	n := 0
	if step > 0 && to > from {
		n = (to-from-1)/step + 1
	} else if step < 0 && to < from {
		n = (from-to-1)/-step + 1
	}
	if n > maxRange {
		e.fail("Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).", maxRange)
	}
	e.step(n)
	l := &list{items: make([]value, n), kind: numberRange, bounds: numberBounds{from, to, step}}
	for i := range l.items {
		l.items[i] = int64(from + i*step)
	}
	return l
}

// numberBounds are what a range was made with.
type numberBounds struct{ from, to, step int }

func (b numberBounds) String() string {
	if b.step == 1 {
		return fmt.Sprintf("range(%d, %d)", b.from, b.to)
	}
	return fmt.Sprintf("range(%d, %d, %d)", b.from, b.to, b.step)
}

// cut are the bounds of a slice of a range.
func (b numberBounds) cut(from, to, step int) numberBounds {
	return numberBounds{b.from + from*b.step, b.from + to*b.step, b.step * step}
}

// makeJoiner returns a function that gives a separator at each call but the first.
func makeJoiner(e *env, a args) value {
	sep, used := a.bind(e, "joiner", "sep").or(0, ", "), false
	return &builtin{"joiner", func(*env, args) value {
		if !used {
			used = true
			return ""
		}
		return sep
	}}
}

// makeCycler returns an object whose next goes through the items again and again.
func makeCycler(e *env, a args) value {
	if len(a.list) == 0 {
		e.fail("at least one item has to be provided")
	}
	at, items := 0, slices.Clone(a.list)
	d := newDict()
	d.set("current", items[0])
	move := func(to int) value {
		was := items[at]
		at = to % len(items)
		d.set("current", items[at])
		return was
	}
	d.set("next", &builtin{"next", func(*env, args) value { return move(at + 1) }})
	d.set("reset", &builtin{"reset", func(*env, args) value {
		move(0)
		return nil
	}})
	return &namespace{d}
}
