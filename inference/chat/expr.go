package chat

import (
	"slices"
	"strconv"
	"strings"
)

// The expressions by rising precedence: ternary, or, and, not, comparison,
// + −, ~, * / // %, **, sign, then what follows a primary: . [] () | is.

func (p *parser) expr() expr {
	defer p.deeper()()
	line, e := p.line(), p.or()
	for p.op("if") {
		cond := p.or()
		var orElse expr = &constExpr{undefined{}}
		if p.op("else") {
			orElse = p.expr()
		}
		e = &ifExpr{line, cond, e, orElse}
	}
	return e
}

func (p *parser) or() expr {
	line, e := p.line(), p.and()
	for p.op("or") {
		e = &logicExpr{line, e, p.and(), true}
	}
	return e
}

func (p *parser) and() expr {
	line, e := p.line(), p.not()
	for p.op("and") {
		e = &logicExpr{line, e, p.not(), false}
	}
	return e
}

func (p *parser) not() expr {
	defer p.deeper()()
	if line := p.line(); p.op("not") {
		return &notExpr{line, p.not()}
	}
	return p.compare()
}

func (p *parser) compare() expr {
	line, e := p.line(), p.sum()
	var rest []comparison
	for {
		op := p.peek().text
		switch {
		case p.isOp("==", "!=", "<", ">", "<=", ">=", "in"):
			p.at++
		case p.isOp("not") && p.tokens[p.at+1].text == "in":
			p.at += 2
			op = "not in"
		default:
			if rest == nil {
				return e
			}
			return &compareExpr{line, e, rest}
		}
		rest = append(rest, comparison{op, p.sum()})
	}
}

// binary parses operators of one precedence, from left to right.
func (p *parser) binary(sub func() expr, ops ...string) expr {
	e := sub()
	for p.peek().kind == opToken && p.isOp(ops...) {
		t := p.next()
		e = &mathExpr{t.line, t.text, e, sub()}
	}
	return e
}

func (p *parser) sum() expr     { return p.binary(p.join, "+", "-") }
func (p *parser) join() expr    { return p.binary(p.product, "~") }
func (p *parser) product() expr { return p.binary(p.power, "*", "/", "//", "%") }
func (p *parser) power() expr   { return p.binary(p.unary, "**") }

func (p *parser) unary() expr {
	defer p.deeper()()
	switch line := p.line(); {
	case p.op("-"):
		return &mathExpr{line, "-", &constExpr{int64(0)}, p.unary()}
	case p.op("+"):
		return p.unary()
	}
	return p.suffix(p.primary())
}

func (p *parser) primary() expr {
	t := p.next()
	switch t.kind {
	case stringToken:
		parts := []string{t.text}
		for p.peek().kind == stringToken { // neighbours are one
			parts = append(parts, p.next().text)
		}
		return &constExpr{strings.Join(parts, "")}
	case intToken:
		n, err := strconv.ParseInt(t.text, 10, 64)
		if err != nil {
			fail(t.line, "the number %s is too large", t.text)
		}
		return &constExpr{n}
	case floatToken:
		f, _ := strconv.ParseFloat(t.text, 64) // only digits and a point
		return &constExpr{f}
	case nameToken:
		return p.named(t)
	case opToken:
		switch t.text {
		case "(":
			return p.parenthesis()
		case "[":
			return &listExpr{t.line, p.items("]")}
		case "{":
			return p.dict(t.line)
		}
	}
	fail(t.line, "unexpected %s", t.describe())
	return nil
}

// reserved are names that are no variables.
var reserved = []string{"and", "or", "not", "if", "else", "elif", "in", "is", "for"}

func (p *parser) named(t token) expr {
	switch t.text {
	case "true", "True":
		return &constExpr{true}
	case "false", "False":
		return &constExpr{false}
	case "none", "None":
		return &constExpr{nil}
	}
	if slices.Contains(reserved, t.text) {
		fail(t.line, "unexpected %q", t.text)
	}
	return &nameExpr{t.line, t.text}
}

func (p *parser) parenthesis() expr {
	line := p.line()
	if p.op(")") {
		return &listExpr{line, nil}
	}
	e := p.tuple()
	p.want(")")
	return e
}

// items parses expressions with commas up to the closing bracket.
func (p *parser) items(shut string) (items []expr) {
	for !p.op(shut) {
		items = append(items, p.expr())
		if !p.isOp(shut) {
			p.want(",")
		}
	}
	return items
}

func (p *parser) dict(line int) expr {
	d := &dictExpr{line: line}
	for !p.op("}") {
		d.keys = append(d.keys, p.expr())
		p.want(":")
		d.values = append(d.values, p.expr())
		if !p.isOp("}") {
			p.want(",")
		}
	}
	return d
}

// suffix parses what follows a primary.
func (p *parser) suffix(e expr) expr {
	for {
		line := p.line()
		switch {
		case p.op("."):
			t := p.next()
			if t.kind != nameToken && t.kind != intToken {
				fail(t.line, "want a name behind the point, found %s", t.describe())
			}
			e = &attrExpr{line, e, t.text}
		case p.peek().kind == opToken && p.op("["):
			e = p.subscript(line, e)
		case p.peek().kind == opToken && p.op("("):
			e = &callExpr{line, e, p.args()}
		case p.peek().kind == opToken && p.op("|"):
			f := &filterExpr{line: line, of: e, name: p.name()}
			if p.op("(") {
				f.args = p.args()
			}
			e = f
		case p.op("is"):
			e = p.test(line, e)
		default:
			return e
		}
	}
}

// subscript parses [i] or [from:to:step].
func (p *parser) subscript(line int, e expr) expr {
	var parts [3]expr
	n := 0
	for {
		if !p.isOp(":", "]") {
			parts[n] = p.expr()
		}
		if !p.op(":") {
			break
		}
		if n++; n > 2 {
			fail(line, "a slice has three parts at most")
		}
	}
	p.want("]")
	if n > 0 {
		return &sliceExpr{line, e, parts}
	}
	if parts[0] == nil {
		fail(line, "an empty subscript")
	}
	return &indexExpr{line, e, parts[0]}
}

// args parses the arguments of a call up to the parenthesis.
func (p *parser) args() (a argExprs) {
	for !p.op(")") {
		if p.peek().kind == nameToken && p.tokens[p.at+1].kind == opToken && p.tokens[p.at+1].text == "=" {
			a.names = append(a.names, p.name())
			p.want("=")
			a.named = append(a.named, p.expr())
		} else {
			a.list = append(a.list, p.expr())
		}
		if !p.isOp(")") {
			p.want(",")
		}
	}
	return a
}

// test parses "is [not] name", with one argument, in parentheses or not.
func (p *parser) test(line int, e expr) expr {
	t := &testExpr{line: line, of: e, not: p.op("not"), name: p.name()}
	next := p.peek()
	switch {
	case next.kind == opToken && p.op("("):
		t.args = p.args()
	case next.kind == stringToken || next.kind == intToken || next.kind == floatToken ||
		next.kind == nameToken && !slices.Contains(reserved, next.text) || next.kind == opToken && next.text == "[":
		t.args.list = []expr{p.suffix(p.primary())}
	}
	return t
}
