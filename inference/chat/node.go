package chat

import "strings"

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
	setNode struct {
		line  int
		to    target
		value expr
	}
	withNode struct {
		line   int
		to     []target
		values []expr
		body   []node
	}
	jumpNode struct {
		line int
		kind signal
	}
)

// A target is what a value is given to: a name, an attribute of a namespace, or
// parts that get an item each.
type target struct {
	line       int
	name, attr string
	parts      []target // when there is no name
}

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
	return e.sized(text)
}

func (n *textNode) run(e *env) signal {
	e.line = n.line
	e.write(n.text)
	return ""
}

func (n *printNode) run(e *env) signal {
	e.line = n.line
	v := n.expr.eval(e)
	e.line = n.line
	e.write(e.str(v))
	return ""
}

func (n *ifNode) run(e *env) (s signal) {
	e.line = n.line
	e.step(1)
	e.deeper(func() {
		if truth(n.cond.eval(e)) {
			s = e.run(n.then)
		} else {
			s = e.run(n.orElse)
		}
	})
	return s
}

func (n *setNode) run(e *env) signal {
	e.line = n.line
	e.step(1)
	v := n.value.eval(e)
	e.assign(e.scope, n.to, v)
	return ""
}

func (n *withNode) run(e *env) (s signal) {
	e.line = n.line
	values := make([]value, len(n.values))
	for i, v := range n.values {
		values[i] = v.eval(e)
	}
	e.inner(map[string]value{}, func() {
		for i, to := range n.to {
			e.assign(e.scope, to, values[i])
		}
		e.deeper(func() { s = e.run(n.body) })
	})
	return s
}

func (n *jumpNode) run(*env) signal { return n.kind }

// assign gives v to a target in a scope.
func (e *env) assign(s *scope, t target, v value) {
	e.line = t.line
	switch {
	case t.attr != "":
		o, _ := s.get(t.name)
		ns, ok := o.(*namespace)
		if !ok {
			e.fail("cannot assign attribute on non-namespace object %s", t.name)
		}
		e.nameable(t.attr)
		ns.vars.set(t.attr, v)
	case t.name != "":
		s.vars[t.name] = v
	default:
		items := e.iterate(v)
		if len(items) != len(t.parts) {
			e.fail("cannot unpack %d values into %d names", len(items), len(t.parts))
		}
		for i, part := range t.parts {
			e.assign(s, part, items[i])
		}
	}
}

// nameable refuses names of a namespace that transformers refuses.
func (e *env) nameable(name string) {
	if strings.HasPrefix(name, "_") {
		e.fail("a namespace cannot have the attribute %q, which begins with an underscore", name)
	}
}
