package chat

import (
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// The expressions by rising precedence: ternary, or, and, not, comparison,
// + −, ~, * / // %, **, then filters and tests, sign, and what follows a primary: . [] ().

func (p *parser) expr() expr {
	defer p.deeper()()
	line, e := p.line(), p.or()
	for p.op("if") {
		n := &ifExpr{line: line, cond: p.or(), then: e}
		if p.op("else") {
			n.orElse = p.expr()
		}
		e = n
	}
	return e
}

// tuple parses what item parses, or several of it with commas.
func (p *parser) tuple(item func() expr, ends ...string) expr {
	line, first := p.line(), item()
	if !p.isOp(",") {
		return first
	}
	items := []expr{first}
	for p.op(",") && !p.isOp(append(ends, ")")...) && p.peek().kind != blockClose && p.peek().kind != printClose {
		items = append(items, item())
	}
	return &listExpr{line, items, tuple}
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
		case p.isOp("not") && p.second().kind == nameToken && p.second().text == "in":
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
func (p *parser) power() expr   { return p.binary(func() expr { return p.unary(true) }, "**") }

// unary parses a sign, a primary, what is behind it, and, if wanted, its filters
// and tests: those of −x|abs are of −x.
func (p *parser) unary(filters bool) (e expr) {
	defer p.deeper()()
	switch line := p.line(); {
	case p.op("-"):
		e = &signExpr{line, p.unary(false), true}
	case p.op("+"):
		e = &signExpr{line, p.unary(false), false}
	default:
		e = p.primary()
	}
	if e = p.postfix(e); filters {
		e = p.filters(e)
	}
	return e
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
		return &constExpr{intConstant(t)}
	case floatToken:
		f, _ := strconv.ParseFloat(t.text, 64) // a number by its pattern; infinite if too large
		return &constExpr{f}
	case nameToken:
		return p.named(t)
	case opToken:
		switch t.text {
		case "(":
			return p.parenthesis()
		case "[":
			return &listExpr{t.line, p.items("]"), plainList}
		case "{":
			return p.dict(t.line)
		}
	}
	fail(t.line, "unexpected %s", t.describe())
	return nil
}

func intConstant(t token) value {
	digits, base := strings.TrimLeft(t.text, "0"), 0
	if digits == "" {
		return int64(0)
	}
	if digits[0] > '9' { // 0x, 0o, 0b
		digits = t.text
	}
	n, ok := new(big.Int).SetString(digits, base)
	if !ok || n.BitLen() > maxBits {
		fail(t.line, "the number %.20s… is too large", t.text)
	}
	if n.IsInt64() {
		return n.Int64()
	}
	return n
}

// reserved are names that are no variables.
var reserved = []string{"and", "or", "not", "if", "else", "elif", "in", "is", "for"}

// constants are the names of values.
var constants = map[string]value{"true": true, "True": true, "false": false, "False": false, "none": nil, "None": nil}

func (p *parser) named(t token) expr {
	if v, ok := constants[t.text]; ok {
		return &constExpr{v}
	}
	if slices.Contains(reserved, t.text) {
		fail(t.line, "unexpected %q", t.text)
	}
	p.read(t.text)
	return &nameExpr{t.line, t.text}
}

func (p *parser) parenthesis() expr {
	line := p.line()
	if p.op(")") {
		return &listExpr{line, nil, tuple}
	}
	e := p.tuple(p.expr)
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

// postfix parses attributes, subscripts and calls behind e.
func (p *parser) postfix(e expr) expr {
	for p.peek().kind == opToken {
		line := p.line()
		switch {
		case p.op("."):
			e = p.attribute(line, e)
		case p.op("["):
			e = p.subscript(line, e)
		case p.op("("):
			e = &callExpr{line, e, p.args()}
		default:
			return e
		}
	}
	return e
}

func (p *parser) attribute(line int, e expr) expr {
	switch t := p.next(); t.kind {
	case nameToken:
		return &attrExpr{line, e, t.text}
	case intToken:
		return &indexExpr{line, e, &constExpr{intConstant(t)}}
	default:
		fail(t.line, "want a name or a number behind the point, found %s", t.describe())
	}
	return nil
}

// filters parses filters, tests and calls behind e.
func (p *parser) filters(e expr) expr {
	for {
		line := p.line()
		switch {
		case p.op("|"):
			e = p.filter(e)
		case p.op("is"):
			e = p.test(line, e)
		case p.peek().kind == opToken && p.op("("):
			e = &callExpr{line, e, p.args()}
		default:
			return e
		}
	}
}

// filter parses a filter behind its bar, and those that follow.
func (p *parser) filter(of expr) expr {
	for {
		f := &filterExpr{line: p.line(), of: of, name: p.name()}
		if p.peek().kind == opToken && p.op("(") {
			f.args = p.args()
		}
		if of = f; !p.op("|") {
			return f
		}
	}
}

// subscript parses [i], [from:to:step] or several of them, which make a tuple.
func (p *parser) subscript(line int, e expr) expr {
	var items []expr
	for !p.op("]") {
		if len(items) > 0 {
			p.want(",")
		}
		items = append(items, p.subscripted(line))
	}
	switch len(items) {
	case 1:
		return &indexExpr{line, e, items[0]}
	default:
		return &indexExpr{line, e, &listExpr{line, items, tuple}}
	}
}

func (p *parser) subscripted(line int) expr {
	var parts [3]expr
	for n := range parts {
		if !p.isOp(":", "]", ",") {
			parts[n] = p.expr()
		}
		if !p.isOp(":") || n == 2 {
			if n > 0 {
				break
			}
			if parts[0] == nil {
				fail(line, "an empty subscript")
			}
			return parts[0]
		}
		p.at++
	}
	return &sliceExpr{line, parts}
}

// args parses the arguments of a call up to the parenthesis.
func (p *parser) args() (a argExprs) {
	for !p.op(")") {
		line := p.line()
		switch named := p.peek().kind == nameToken && p.second().kind == opToken && p.second().text == "="; {
		case p.op("**"):
			a.dict = p.expr()
		case a.dict != nil:
			fail(line, "an argument behind **")
		case named:
			a.names = append(a.names, p.name())
			p.want("=")
			a.named = append(a.named, p.expr())
		case a.rest != nil:
			fail(line, "an argument behind *")
		case p.op("*"):
			a.rest = p.expr()
		case len(a.names) > 0:
			fail(line, "an argument without a name behind one with a name")
		default:
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
		next.kind == nameToken && !slices.Contains(reserved, next.text) || p.isOp("[", "{"):
		t.args.list = []expr{p.postfix(p.primary())}
	}
	return t
}
