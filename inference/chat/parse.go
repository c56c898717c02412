package chat

import (
	"slices"
	"strings"
)

// A parser makes a tree of tokens.
type parser struct {
	tokens []token
	at     int
	depth  int
	loops  int             // that a break may leave
	names  map[string]bool // that the macro in hand reads
}

func (p *parser) peek() token { return p.tokens[p.at] }

func (p *parser) next() token {
	t := p.tokens[p.at]
	if t.kind != endToken {
		p.at++
	}
	return t
}

// second returns the token behind the next one.
func (p *parser) second() token { return p.tokens[min(p.at+1, len(p.tokens)-1)] }

func (p *parser) line() int { return p.peek().line }

// op tells whether an operator or keyword is next, and steps over it.
func (p *parser) op(text string) bool {
	if t := p.peek(); (t.kind == opToken || t.kind == nameToken) && t.text == text {
		p.at++
		return true
	}
	return false
}

// isOp tells whether one of some operators or keywords is next.
func (p *parser) isOp(texts ...string) bool {
	t := p.peek()
	return (t.kind == opToken || t.kind == nameToken) && slices.Contains(texts, t.text)
}

func (p *parser) want(text string) {
	if !p.op(text) {
		fail(p.line(), "want %q, found %s", text, p.peek().describe())
	}
}

func (t token) describe() string {
	switch t.kind {
	case endToken:
		return "the end of the template"
	case blockClose:
		return `"%}"`
	case printClose:
		return `"}}"`
	case textToken:
		return "text"
	}
	return `"` + t.text + `"`
}

func (p *parser) name() string {
	t := p.next()
	if t.kind != nameToken {
		fail(t.line, "want a name, found %s", t.describe())
	}
	return t.text
}

// deeper guards the parser's own stack.
func (p *parser) deeper() func() {
	if p.depth++; p.depth > maxDepth {
		fail(p.line(), "nested more than %d deep", maxDepth)
	}
	return func() { p.depth-- }
}

// template parses a whole template.
func (p *parser) template() []node {
	nodes, end := p.nodes()
	if end != "" {
		fail(p.line(), "unexpected %q", end)
	}
	return nodes
}

// nodes parses up to a block that ends or divides another, such as "endif" or
// "else", and returns its name, the rest of whose tag is still to be read; ""
// at the end of the template.
func (p *parser) nodes() (nodes []node, end string) {
	defer p.deeper()()
	for {
		t := p.next()
		switch t.kind {
		case endToken:
			return nodes, ""
		case textToken:
			nodes = append(nodes, &textNode{t.line, t.text})
		case printOpen:
			e := p.tuple(p.expr)
			p.shut(printClose)
			nodes = append(nodes, &printNode{t.line, e})
		case blockOpen:
			if name := p.name(); strings.HasPrefix(name, "end") || name == "else" || name == "elif" {
				return nodes, name
			} else {
				nodes = append(nodes, p.block(t.line, name)...)
			}
		}
	}
}

func (p *parser) shut(k kind) {
	if t := p.next(); t.kind != k {
		fail(t.line, "unexpected %s", t.describe())
	}
}

// until parses nodes that one of the ends must follow.
func (p *parser) until(line int, what string, ends ...string) ([]node, string) {
	nodes, end := p.nodes()
	if !slices.Contains(ends, end) {
		if end == "" {
			fail(line, "%s without its end", what)
		}
		fail(p.line(), "unexpected %q in %s", end, what)
	}
	return nodes, end
}

// body parses the end of a tag, nodes up to one of the ends, and with a single end
// its tag.
func (p *parser) body(line int, what string, ends ...string) ([]node, string) {
	p.op(":")
	p.shut(blockClose)
	nodes, end := p.until(line, what, ends...)
	if len(ends) == 1 {
		p.shut(blockClose)
	}
	return nodes, end
}

// apart parses a body that no break or continue can leave.
func (p *parser) apart(line int, what, end string) []node {
	loops := p.loops
	p.loops = 0
	nodes, _ := p.body(line, what, end)
	p.loops = loops
	return nodes
}

// block parses the block whose name was read.
func (p *parser) block(line int, name string) []node {
	switch name {
	case "if":
		return []node{p.ifBlock(line)}
	case "for":
		return []node{p.forBlock(line)}
	case "set":
		return []node{p.setBlock(line)}
	case "macro":
		return []node{p.macroBlock(line)}
	case "call":
		return []node{p.callBlock(line)}
	case "with":
		return []node{p.withBlock(line)}
	case "filter":
		capture := &captureExpr{line: line}
		e := p.filter(capture)
		capture.body = p.apart(line, name, "endfilter")
		return []node{&printNode{line, e}}
	case "generation": // marks the answer for training
		return []node{&printNode{line, &captureExpr{line, p.apart(line, name, "endgeneration")}}}
	case "print":
		return p.printBlock(line)
	case "block": // nothing inherits from a chat template
		return p.namedBlock(line)
	case "break", "continue":
		p.shut(blockClose)
		if p.loops == 0 {
			fail(line, "%s outside of a loop", name)
		}
		return []node{&jumpNode{line, signal(name)}}
	}
	fail(line, "unknown block %q", name)
	return nil
}

func (p *parser) ifBlock(line int) node {
	n := &ifNode{line: line, cond: p.tuple(p.or)}
	var end string
	n.then, end = p.body(line, "if", "elif", "else", "endif")
	switch end {
	case "elif":
		defer p.deeper()()
		n.orElse = []node{p.ifBlock(p.line())} // it reads the endif
		return n
	case "else":
		n.orElse, _ = p.body(line, "if", "endif")
		return n
	}
	p.shut(blockClose)
	return n
}

func (p *parser) forBlock(line int) node {
	n := &forNode{line: line, target: p.target("in")}
	p.want("in")
	n.over = p.tuple(p.or, "recursive") // no ternary: "if" filters the items
	if p.op("if") {
		n.cond = p.expr()
	}
	n.recursive = p.op("recursive")
	loops := p.loops
	p.loops++
	if n.recursive {
		p.loops = 1
	}
	var end string
	n.body, end = p.body(line, "for", "else", "endfor")
	if p.loops = loops; n.recursive {
		p.loops = 0
	}
	if end == "else" {
		n.orElse, _ = p.body(line, "for", "endfor")
	} else {
		p.shut(blockClose)
	}
	p.loops = loops
	return n
}

// target parses what is assigned to: a name, "a, b", with or without parentheses.
func (p *parser) target(ends ...string) target {
	defer p.deeper()()
	line := p.line()
	first := p.targetItem()
	if !p.isOp(",") {
		return first
	}
	t := target{line: line, parts: []target{first}}
	for p.op(",") && !p.isOp(append(ends, "=", ")")...) && p.peek().kind != blockClose {
		t.parts = append(t.parts, p.targetItem())
	}
	return t
}

func (p *parser) targetItem() target {
	line := p.line()
	if p.op("(") {
		t := p.target()
		p.want(")")
		return t
	}
	t := target{line: line, name: p.name()}
	if _, constant := constants[t.name]; constant || t.name == "loop" {
		fail(line, "%s cannot be set", t.name)
	}
	if p.op(".") {
		p.read(t.name)
		t.attr = p.name()
	}
	return t
}

func (p *parser) setBlock(line int) node {
	n := &setNode{line: line, to: p.target()}
	if p.op("=") {
		n.value = p.tuple(p.expr)
		p.shut(blockClose)
		return n
	}
	capture := &captureExpr{line: line}
	n.value = capture
	if p.op("|") {
		n.value = p.filter(capture)
	}
	capture.body = p.apart(line, "set", "endset")
	return n
}

// signature parses the parameters of a macro.
func (p *parser) signature(n *macroNode) {
	p.want("(")
	for !p.op(")") {
		n.params = append(n.params, p.name())
		var fallback expr
		if p.op("=") {
			fallback = p.expr()
		} else if len(n.defaults) > 0 && n.defaults[len(n.defaults)-1] != nil {
			fail(p.line(), "a parameter without a default behind one that has one")
		}
		n.defaults = append(n.defaults, fallback)
		if !p.isOp(")") {
			p.want(",")
		}
	}
}

// macroBody parses the body of a macro, and notes which special names it reads.
func (p *parser) macroBody(n *macroNode, what, end string) {
	outer := p.names
	p.names = map[string]bool{}
	n.body = p.apart(n.line, what, end)
	n.caller, n.kwargs, n.varargs = p.names["caller"], p.names["kwargs"], p.names["varargs"]
	inner := p.names
	p.names = outer
	for name := range inner {
		p.read(name)
	}
}

// read notes that a name is read.
func (p *parser) read(name string) {
	if p.names != nil {
		p.names[name] = true
	}
}

func (p *parser) macroBlock(line int) node {
	n := &macroNode{line: line, name: p.name()}
	p.signature(n)
	p.macroBody(n, "macro", "endmacro")
	return n
}

func (p *parser) callBlock(line int) node {
	n := &callNode{line: line, caller: &macroNode{line: line, name: "caller"}}
	if p.isOp("(") {
		p.signature(n.caller)
	}
	call, ok := p.expr().(*callExpr)
	if !ok {
		fail(line, "a call block without a call")
	}
	n.call = call
	p.macroBody(n.caller, "call", "endcall")
	return n
}

func (p *parser) printBlock(line int) (nodes []node) {
	for p.peek().kind != blockClose {
		if len(nodes) > 0 {
			p.want(",")
		}
		nodes = append(nodes, &printNode{line, p.expr()})
	}
	p.shut(blockClose)
	return nodes
}

func (p *parser) namedBlock(line int) []node {
	name := p.name()
	p.op("scoped")
	capture := &captureExpr{line: line}
	capture.body = p.blockBody(line, name)
	return []node{&printNode{line, capture}}
}

// blockBody parses the body of a block whose end may repeat its name.
func (p *parser) blockBody(line int, name string) []node {
	loops := p.loops
	p.loops = 0
	nodes, _ := p.body(line, "block", "endblock", "endblock")
	p.loops = loops
	p.op(name)
	p.shut(blockClose)
	return nodes
}

func (p *parser) withBlock(line int) node {
	n := &withNode{line: line}
	for p.peek().kind != blockClose && !p.isOp(":") {
		if len(n.to) > 0 {
			p.want(",")
		}
		n.to = append(n.to, p.targetItem())
		p.want("=")
		n.values = append(n.values, p.expr())
	}
	n.body, _ = p.body(line, "with", "endwith")
	return n
}
