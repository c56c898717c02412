package chat

import (
	"fmt"
	"maps"
	"strings"
)

// A node is a piece of a template that writes.
type node interface {
	// run writes to e. A signal says that a loop is left or goes on.
	run(e *env) signal
}

// A signal is "", "break" or "continue".
type signal string

type (
	textNode struct {
		line int
		text string
	}
	printNode struct {
		line int
		expr expr
	}
	ifNode struct {
		line         int
		cond         expr
		then, orElse []node
	}
	forNode struct {
		line         int
		names        []string
		over, cond   expr // cond may be nil
		body, orElse []node
	}
	setNode struct {
		line   int
		object string // of set object.name = …
		names  []string
		value  expr // nil: the body's output
		body   []node
	}
	macroNode struct {
		line     int
		name     string
		params   []string
		defaults []expr // nil where there is none
		body     []node
	}
	jumpNode struct {
		line int
		kind string
	}
)

// run runs nodes until one of them jumps.
func (e *env) run(nodes []node) (s signal) {
	for _, n := range nodes {
		if s = n.run(e); s != "" {
			return s
		}
	}
	return ""
}

// capture returns what nodes write.
func (e *env) capture(nodes []node) string {
	outer := e.out
	e.out = new(strings.Builder)
	e.run(nodes)
	text := e.out.String()
	e.out = outer
	return text
}

func (n *textNode) run(e *env) signal {
	e.write(n.line, n.text)
	return ""
}

func (n *printNode) run(e *env) signal {
	e.write(n.line, str(n.expr.eval(e)))
	return ""
}

func (n *ifNode) run(e *env) (s signal) {
	e.step(n.line, 1)
	e.deeper(n.line, func() {
		if truth(n.cond.eval(e)) {
			s = e.run(n.then)
		} else {
			s = e.run(n.orElse)
		}
	})
	return s
}

func (n *forNode) run(e *env) (s signal) {
	items := n.items(e)
	if len(items) == 0 {
		return e.run(n.orElse)
	}
	e.deeper(n.line, func() {
		for i := range items {
			e.step(n.line, 4)
			vars := n.bind(items[i])
			vars["loop"] = &loop{items, i}
			var jump signal
			e.inner(vars, func() { jump = e.run(n.body) })
			if jump == "break" {
				return
			}
		}
	})
	return ""
}

// items are what the loop runs over, after its condition.
func (n *forNode) items(e *env) []value {
	items := e.iterate(n.line, n.over.eval(e))
	if n.cond == nil {
		return items
	}
	var kept []value
	for _, item := range items {
		e.step(n.line, 1)
		e.inner(n.bind(item), func() {
			if truth(n.cond.eval(e)) {
				kept = append(kept, item)
			}
		})
	}
	return kept
}

// bind gives an item its names.
func (n *forNode) bind(item value) map[string]value {
	if len(n.names) == 1 {
		return map[string]value{n.names[0]: item}
	}
	return unpack(n.line, n.names, item)
}

func unpack(line int, names []string, item value) map[string]value {
	l, ok := item.(*list)
	if !ok || len(l.items) != len(names) {
		fail(line, "cannot unpack a %s into %d names", typeName(item), len(names))
	}
	vars := make(map[string]value, len(names)+1)
	for i, name := range names {
		vars[name] = l.items[i]
	}
	return vars
}

// A loop is the variable of that name in the i-th turn.
type loop struct {
	items []value
	i     int
}

// get returns one of the loop's attributes.
func (l *loop) get(name string) value {
	n := len(l.items)
	switch name {
	case "index":
		return int64(l.i + 1)
	case "index0":
		return int64(l.i)
	case "first":
		return l.i == 0
	case "last":
		return l.i == n-1
	case "length":
		return int64(n)
	case "revindex":
		return int64(n - l.i)
	case "revindex0":
		return int64(n - l.i - 1)
	case "previtem":
		if l.i > 0 {
			return l.items[l.i-1]
		}
	case "nextitem":
		if l.i+1 < n {
			return l.items[l.i+1]
		}
	case "cycle":
		return &builtin{name, func(_ *env, line int, a args) value {
			if len(a.list) == 0 {
				fail(line, "cycle of nothing")
			}
			return a.list[l.i%len(a.list)]
		}}
	}
	return undefined{name}
}

func (n *setNode) run(e *env) signal {
	e.step(n.line, 1)
	var v value
	if n.value != nil {
		v = n.value.eval(e)
	} else {
		e.deeper(n.line, func() { v = e.capture(n.body) })
	}
	switch {
	case n.object != "":
		o, _ := e.scope.get(n.object)
		ns, ok := o.(*namespace)
		if !ok {
			fail(n.line, "set %s.%s: %s is no namespace", n.object, n.names[0], n.object)
		}
		ns.vars[n.names[0]] = v
	case len(n.names) == 1:
		e.scope.vars[n.names[0]] = v
	default:
		maps.Copy(e.scope.vars, unpack(n.line, n.names, v))
	}
	return ""
}

func (n *macroNode) run(e *env) signal {
	e.scope.vars[n.name] = &macro{n, e.scope}
	return ""
}

// call runs a macro and returns what it writes.
func (m *macro) call(e *env, line int, a args) value {
	vars := map[string]value{}
	if len(a.list) > len(m.n.params) {
		fail(line, "%s takes %d arguments, not %d", m.n.name, len(m.n.params), len(a.list))
	}
	var text string
	outer := e.scope
	e.scope = &scope{vars: vars, parent: m.scope}
	e.deeper(line, func() {
		for i, name := range m.n.params {
			v := a.get(i, name, undefined{name})
			if _, missing := v.(undefined); missing && m.n.defaults[i] != nil {
				v = m.n.defaults[i].eval(e)
			}
			vars[name] = v
		}
		text = e.capture(m.n.body)
	})
	e.scope = outer
	return text
}

func (n *jumpNode) run(*env) signal { return signal(n.kind) }

// iterate returns the items of a list, the keys of a dict, the characters of a text.
func (e *env) iterate(line int, v value) []value {
	var items []value
	switch v := v.(type) {
	case undefined:
	case *list:
		items = v.items
	case *dict:
		items = v.keys
	case string:
		for _, r := range v {
			items = append(items, string(r))
		}
	default:
		fail(line, "a %s cannot be iterated over", typeName(v))
	}
	e.step(line, len(items))
	return items
}

// missing fails because of an undefined value.
func missing(line int, u undefined, what string) {
	name := "a value"
	if u.name != "" {
		name = fmt.Sprintf("%q", u.name)
	}
	fail(line, "%s is undefined, %s", name, what)
}
