package chat

import "slices"

// A parser makes a tree of tokens.
type parser struct {
	tokens []token
	at     int
	depth  int
}

func (p *parser) peek() token { return p.tokens[p.at] }

func (p *parser) next() token {
	t := p.tokens[p.at]
	if t.kind != endToken {
		p.at++
	}
	return t
}

func (p *parser) line() int { return p.peek().line }

// op tells whether an operator or keyword is next, and steps over it.
func (p *parser) op(text string) bool {
	if t := p.peek(); (t.kind == opToken || t.kind == nameToken) && t.text == text {
		p.at++
		return true
	}
	return false
}

// keyword tells whether a name is next that ends an expression.
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

// body parses a whole template.
func (p *parser) body() []node {
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
			e := p.expr()
			p.shut(printClose)
			nodes = append(nodes, &printNode{t.line, e})
		case blockOpen:
			if p.isOp("else", "elif", "endif", "endfor", "endset", "endmacro", "endgeneration", "endfilter", "endcall") {
				return nodes, p.name()
			}
			nodes = append(nodes, p.block(t.line, p.name())...)
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
	case "break", "continue":
		p.shut(blockClose)
		return []node{&jumpNode{line, name}}
	case "generation": // marks the answer for training; its body counts
		p.shut(blockClose)
		body, _ := p.until(line, name, "endgeneration")
		p.shut(blockClose)
		return body
	}
	fail(line, "unknown block %q", name)
	return nil
}

func (p *parser) ifBlock(line int) node {
	n := &ifNode{line: line, cond: p.expr()}
	p.shut(blockClose)
	var end string
	n.then, end = p.until(line, "if", "elif", "else", "endif")
	switch end {
	case "elif":
		n.orElse = []node{p.ifBlock(line)} // it reads the endif
		return n
	case "else":
		p.shut(blockClose)
		n.orElse, _ = p.until(line, "if", "endif")
	}
	p.shut(blockClose)
	return n
}

func (p *parser) forBlock(line int) node {
	n := &forNode{line: line, names: p.targets()}
	p.want("in")
	n.over = p.or() // no ternary: "if" filters the items
	if p.op("if") {
		n.cond = p.expr()
	}
	if p.isOp("recursive") {
		fail(line, "recursive loops are not supported")
	}
	p.shut(blockClose)
	var end string
	if n.body, end = p.until(line, "for", "else", "endfor"); end == "else" {
		p.shut(blockClose)
		n.orElse, _ = p.until(line, "for", "endfor")
	}
	p.shut(blockClose)
	return n
}

// targets parses "a" or "a, b", with or without parentheses.
func (p *parser) targets() (names []string) {
	open := p.op("(")
	for {
		names = append(names, p.name())
		if !p.op(",") {
			break
		}
	}
	if open {
		p.want(")")
	}
	return names
}

func (p *parser) setBlock(line int) node {
	n := &setNode{line: line}
	first := p.name()
	if p.op(".") {
		n.object, n.names = first, []string{p.name()}
	} else {
		n.names = []string{first}
		for p.op(",") {
			n.names = append(n.names, p.name())
		}
	}
	if p.op("=") {
		n.value = p.tuple()
		p.shut(blockClose)
		return n
	}
	if p.isOp("|") {
		fail(line, "filters of a set block are not supported")
	}
	p.shut(blockClose)
	n.body, _ = p.until(line, "set", "endset")
	p.shut(blockClose)
	return n
}

func (p *parser) macroBlock(line int) node {
	n := &macroNode{line: line, name: p.name()}
	p.want("(")
	for !p.op(")") {
		n.params = append(n.params, p.name())
		var fallback expr
		if p.op("=") {
			fallback = p.expr()
		}
		n.defaults = append(n.defaults, fallback)
		if !p.isOp(")") {
			p.want(",")
		}
	}
	p.shut(blockClose)
	n.body, _ = p.until(line, "macro", "endmacro")
	p.shut(blockClose)
	return n
}

// tuple parses "a" or "a, b", which is a list.
func (p *parser) tuple() expr {
	line, first := p.line(), p.expr()
	if !p.isOp(",") {
		return first
	}
	items := []expr{first}
	for p.op(",") && !p.isOp(")") && p.peek().kind != blockClose {
		items = append(items, p.expr())
	}
	return &listExpr{line, items}
}
