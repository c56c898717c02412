package chat

// A macroNode makes a macro, or is what a call block hands over.
type macroNode struct {
	line                    int
	name                    string
	params                  []string
	defaults                []expr // nil where there is none
	body                    []node
	caller, kwargs, varargs bool // the body reads these names
}

// A callNode calls a macro with its body as the caller.
type callNode struct {
	line   int
	call   *callExpr
	caller *macroNode
}

func (n *macroNode) run(e *env) signal {
	e.scope.vars[n.name] = &macro{n, e.scope}
	return ""
}

func (n *callNode) run(e *env) signal {
	e.line = n.line
	f, a := n.call.of.eval(e), n.call.args.eval(e)
	a.names = append(a.names, "caller")
	a.named = append(a.named, &macro{n.caller, e.scope})
	e.line = n.line
	e.write(e.str(e.call(f, a)))
	return ""
}

// call runs a macro and returns what it writes.
func (m *macro) call(e *env, a args) value {
	vars := map[string]value{}
	given := m.give(e, a, vars)
	var text string
	e.within(m.scope, vars, func() {
		e.deeper(func() {
			for i, name := range m.n.params {
				switch {
				case given[i]:
				case m.n.defaults[i] != nil:
					vars[name] = m.n.defaults[i].eval(e)
				default:
					vars[name] = undefined{"parameter '" + name + "' was not provided"}
				}
			}
			text = e.capture(m.n.body)
		})
	})
	return text
}

// give puts the arguments into vars, and tells which parameters got one.
func (m *macro) give(e *env, a args, vars map[string]value) []bool {
	given := make([]bool, len(m.n.params))
	n := min(len(a.list), len(given))
	for i, name := range m.n.params {
		if i < n {
			vars[name], given[i] = a.list[i], true
		} else if v, rest, ok := a.take(name); ok {
			vars[name], given[i], a = v, true, rest
		}
	}
	if _, own := vars["caller"]; m.n.caller && !own {
		v, rest, ok := a.take("caller")
		if a = rest; !ok || v == nil {
			v = undefined{"No caller defined"}
		}
		vars["caller"] = v
	}
	switch {
	case m.n.kwargs:
		d := newDict()
		for i, name := range a.names {
			d.set(name, a.named[i])
		}
		vars["kwargs"] = d
	case len(a.names) > 0:
		e.fail("macro '%s' takes no keyword argument '%s'", m.n.name, a.names[0])
	}
	switch {
	case m.n.varargs:
		vars["varargs"] = &list{items: a.list[n:], kind: tuple}
	case len(a.list) > n:
		e.fail("macro '%s' takes not more than %d argument(s)", m.n.name, len(given))
	}
	return given
}
