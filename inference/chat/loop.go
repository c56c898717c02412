package chat

import "slices"

// A forNode is a loop over items.
type forNode struct {
	line         int
	target       target
	over, cond   expr // cond may be nil
	body, orElse []node
	recursive    bool
}

func (n *forNode) run(e *env) (s signal) {
	e.line = n.line
	over := n.over.eval(e)
	e.line = n.line
	if n.recursive {
		e.write(e.recurse(n, e.scope, over, 0))
		return ""
	}
	return n.turns(e, &loop{n: n, scope: e.scope}, over)
}

// turns runs the body for each item. A jump out of the else branch is the outer loop's.
func (n *forNode) turns(e *env, l *loop, over value) (s signal) {
	l.items = n.items(e, over)
	e.deeper(func() {
		if len(l.items) == 0 {
			e.inner(map[string]value{}, func() { s = e.run(n.orElse) })
			return
		}
		for i, item := range l.items {
			e.line = n.line
			e.step(4)
			l.i = i
			var jump signal
			e.inner(map[string]value{"loop": l}, func() {
				e.assign(e.scope, n.target, item)
				jump = e.run(n.body)
			})
			if jump == "break" {
				return
			}
		}
	})
	return s
}

// items are what the loop runs over, after its condition.
func (n *forNode) items(e *env, over value) []value {
	items := e.iterate(over)
	if n.cond == nil {
		return items
	}
	var kept []value
	for _, item := range items {
		e.step(1)
		e.inner(map[string]value{}, func() {
			e.assign(e.scope, n.target, item)
			if truth(n.cond.eval(e)) {
				kept = append(kept, item)
			}
		})
	}
	return kept
}

// recurse returns what a recursive loop writes for other items.
func (e *env) recurse(n *forNode, s *scope, over value, depth int) (text string) {
	loop := &loop{n: n, scope: s, depth: depth}
	e.within(s, map[string]value{}, func() {
		text = e.capture([]node{&turnsNode{loop, over}})
	})
	return text
}

// A turnsNode runs a loop whose items are there.
type turnsNode struct {
	loop *loop
	over value
}

func (t *turnsNode) run(e *env) signal { return t.loop.n.turns(e, t.loop, t.over) }

// A loop is the variable of that name.
type loop struct {
	n       *forNode
	scope   *scope // around the loop
	items   []value
	i       int
	depth   int
	changed []value // the last arguments of changed; nil before
}

// get returns one of the loop's attributes.
func (l *loop) get(name string) (value, bool) {
	n := len(l.items)
	switch name {
	case "index":
		return int64(l.i + 1), true
	case "index0":
		return int64(l.i), true
	case "first":
		return l.i == 0, true
	case "last":
		return l.i == n-1, true
	case "length":
		return int64(n), true
	case "revindex":
		return int64(n - l.i), true
	case "revindex0":
		return int64(n - l.i - 1), true
	case "depth":
		return int64(l.depth + 1), true
	case "depth0":
		return int64(l.depth), true
	case "previtem", "nextitem":
		return l.neighbour(name), true
	case "cycle":
		return &builtin{name, l.cycle}, true
	case "changed":
		return &builtin{name, l.hasChanged}, true
	}
	return nil, false
}

func (l *loop) neighbour(name string) value {
	switch {
	case name == "previtem" && l.i > 0:
		return l.items[l.i-1]
	case name == "previtem":
		return undefined{"there is no previous item"}
	case l.i+1 < len(l.items):
		return l.items[l.i+1]
	}
	return undefined{"there is no next item"}
}

func (l *loop) cycle(e *env, a args) value {
	if len(a.list) == 0 {
		e.fail("no items for cycling given")
	}
	return a.list[l.i%len(a.list)]
}

func (l *loop) hasChanged(e *env, a args) value {
	same := l.changed != nil && slices.EqualFunc(l.changed, a.list, e.equal)
	l.changed = append(make([]value, 0, len(a.list)+1), a.list...)
	return !same
}

// call renders the body of a recursive loop for other items.
func (l *loop) call(e *env, a args) value {
	if !l.n.recursive {
		e.fail("the loop must have the 'recursive' marker to be called recursively")
	}
	over := a.bind(e, "loop", "iterable!")[0]
	return e.recurse(l.n, l.scope, over, l.depth+1)
}
