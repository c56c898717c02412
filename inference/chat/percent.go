package chat

import (
	"math"
	"math/big"
	"strings"
)

// A percenter is one formatting by the operator %.
type percenter struct {
	e    *env
	args []value
	dict *dict // for %(name)s
	used int
	safe bool // the format is markup: what goes in is escaped
}

// percent is "s % v".
func (e *env) percent(format value, s string, v value) value {
	_, safe := format.(markup)
	p := &percenter{e: e, args: []value{v}, safe: safe}
	if l, ok := v.(*list); ok && l.kind == tuple {
		p.args = l.items
	}
	p.dict, _ = v.(*dict)
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(s, "%")
		b.WriteString(before)
		if !ok {
			break
		}
		text, n := p.directive(rest)
		e.room(b.Len() + len(text))
		b.WriteString(text)
		s = rest[n:]
	}
	_, list := v.(*list)
	if p.dict == nil && p.used < len(p.args) && (!list || len(p.args) != 1 || p.args[0] != v) {
		e.fail("not all arguments converted during string formatting")
	}
	return like(format, b.String())
}

func (p *percenter) next() value {
	if p.used >= len(p.args) {
		p.e.fail("not enough arguments for format string")
	}
	p.used++
	return p.args[p.used-1]
}

// directive reads what is behind a %, and returns its text and its length.
func (p *percenter) directive(s string) (string, int) {
	whole := len(s)
	var v value
	named := false
	if strings.HasPrefix(s, "(") {
		name, rest, ok := strings.Cut(s[1:], ")")
		if !ok || p.dict == nil {
			p.e.fail("format requires a mapping")
		}
		if v, ok = p.dict.get(name); !ok {
			p.e.fail("no key %q for the format", name)
		}
		s, named = rest, true
	}
	f := spec{fill: " ", precision: -1, align: '>'}
	s = p.flags(s, &f)
	if f.width, s = p.number(s, 0); f.width < 0 {
		f.width, f.align, f.fill = -f.width, '<', " "
	}
	if rest, ok := strings.CutPrefix(s, "."); ok {
		f.precision, s = p.number(rest, 0)
	}
	s = strings.TrimLeft(s, "hlL")
	if s == "" {
		p.e.fail("incomplete format")
	}
	f.verb = s[0]
	done := whole - len(s) + 1
	if f.verb == '%' {
		return "%", done
	}
	if !named {
		v = p.next()
	}
	return p.convert(v, f), done
}

func (p *percenter) flags(s string, f *spec) string {
	for s != "" {
		switch s[0] {
		case '-':
			f.align, f.fill = '<', " "
		case '0':
			if f.align != '<' {
				f.align, f.fill = '=', "0"
			}
		case '+':
			f.sign = '+'
		case ' ':
			if f.sign == 0 {
				f.sign = ' '
			}
		case '#':
			f.alternate = true
		default:
			return s
		}
		s = s[1:]
	}
	return s
}

// number reads a width or a precision; a star takes it from the arguments.
func (p *percenter) number(s string, none int) (int, string) {
	if rest, ok := strings.CutPrefix(s, "*"); ok {
		n := p.e.int(p.next())
		if n > maxBytes || n < -maxBytes {
			p.e.room(maxBytes + 1)
		}
		return n, rest
	}
	return p.e.digits(s, none)
}

func (p *percenter) convert(v value, f spec) string {
	switch f.verb {
	case 's', 'r', 'a':
		text := ""
		switch {
		case f.verb != 's':
			text = p.e.repr(v)
		case p.safe:
			text = p.e.escape(v)
		default:
			text = p.e.str(v)
		}
		if f.verb = 's'; f.align == '=' {
			f.align, f.fill = '>', " "
		}
		f.sign = 0
		return p.e.formatted(text, f)
	case 'c':
		if s, ok := asText(v); ok {
			f.verb, f.sign = 's', 0
			return p.e.formatted(s, f)
		}
	case 'd', 'i', 'u':
		f.verb = 'd'
		v = p.whole(v)
	}
	p.e.defined(v)
	if !isNumber(v) {
		p.e.fail("%%%c format: a number is required, not %s", f.verb, className(v))
	}
	return p.e.formatted(v, f)
}

// whole cuts the fraction of a float.
func (p *percenter) whole(v value) value {
	f, ok := v.(float64)
	if !ok {
		return v
	}
	if math.IsInf(f, 0) || math.IsNaN(f) {
		p.e.fail("cannot convert float %s to integer", floatText(f))
	}
	b, _ := big.NewFloat(f).Int(nil)
	return p.e.number(b)
}
