package chat

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A spec says how a value is written: Python's format mini-language and its older
// % operator have these parts in common.
type spec struct {
	fill      string
	align     byte // '<', '>', '^', '=' or 0
	sign      byte // '+', ' ' or 0
	alternate bool
	width     int
	group     byte // ',' or '_'
	precision int  // −1: none
	verb      byte // 0: none
}

// parseSpec reads [[fill]align][sign][#][0][width][group][.precision][verb].
func (e *env) parseSpec(s string) spec {
	p := spec{fill: " ", precision: -1}
	if _, n := utf8.DecodeRuneInString(s); n > 0 && len(s) > n && strings.IndexByte("<>^=", s[n]) >= 0 {
		p.fill, p.align, s = s[:n], s[n], s[n+1:]
	} else if s != "" && strings.IndexByte("<>^=", s[0]) >= 0 {
		p.align, s = s[0], s[1:]
	}
	if s != "" && strings.IndexByte("+- ", s[0]) >= 0 {
		p.sign, s = s[0], s[1:]
	}
	if s, p.alternate = strings.CutPrefix(s, "#"); strings.HasPrefix(s, "0") {
		if s = s[1:]; p.align == 0 {
			p.fill, p.align = "0", '='
		}
	}
	p.width, s = e.digits(s, 0)
	if s != "" && (s[0] == ',' || s[0] == '_') {
		p.group, s = s[0], s[1:]
	}
	if rest, ok := strings.CutPrefix(s, "."); ok {
		if p.precision, s = e.digits(rest, -1); p.precision < 0 {
			e.fail("format specifier missing precision")
		}
	}
	if len(s) > 1 {
		e.fail("invalid format specifier %q", s)
	}
	p.verb = first(s)
	return p
}

// digits reads a number that s begins with.
func (e *env) digits(s string, none int) (int, string) {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	if i == 0 {
		return none, s
	}
	n, err := strconv.Atoi(s[:i])
	if err != nil || n > maxBytes {
		e.room(maxBytes + 1)
	}
	return n, s[i:]
}

// formatted is Python's format(v, spec).
func (e *env) formatted(v value, p spec) string {
	if isNumber(v) {
		return e.formatNumber(v, p)
	}
	if s, ok := asText(v); !ok && (p.width > 0 || p.verb != 0 || p.precision >= 0) {
		e.fail("unsupported format string passed to %s.__format__", className(v))
	} else if ok {
		if p.verb != 0 && p.verb != 's' || p.align == '=' && p.fill != "0" || p.sign != 0 {
			e.fail("unknown format code %q for a text", string(p.verb))
		}
		if r := []rune(s); p.precision >= 0 && len(r) > p.precision {
			s = string(r[:p.precision])
		}
		return e.aligned("", s, p, '<')
	}
	return e.str(v)
}

func (e *env) formatNumber(v value, p spec) string {
	if b, ok := v.(bool); ok && p.verb == 0 {
		if p.width == 0 && p.fill == " " {
			return e.str(b)
		}
	}
	if p.precision > 512 {
		e.fail("a precision of %d", p.precision)
	}
	sign, digits := "", ""
	switch {
	case isFloat(v) && strings.IndexByte("bcdoxXn", p.verb) >= 0 && p.verb != 0 && p.verb != 'n', p.verb == 's':
		e.fail("unknown format code '%c' for an object of type '%s'", p.verb, className(v))
	case isFloat(v) || p.verb != 0 && strings.IndexByte("eEfFgG%", p.verb) >= 0:
		f := toFloat(v)
		if math.Signbit(f) && f == f {
			sign, f = "-", -f
		}
		digits = floatDigits(f, p)
	default:
		b := toBig(v)
		if b.Sign() < 0 {
			sign = "-"
		}
		digits = e.intDigits(new(big.Int).Abs(b), p)
		if prefix, ok := map[byte]string{'x': "0x", 'X': "0X", 'o': "0o", 'b': "0b"}[p.verb]; ok && p.alternate {
			sign += prefix
		}
	}
	if p.sign != 0 && p.sign != '-' && !strings.HasPrefix(sign, "-") {
		sign = string(p.sign) + sign
	}
	if p.group != 0 {
		digits = grouped(digits, p.group)
	}
	return e.aligned(sign, digits, p, '>')
}

func (e *env) intDigits(b *big.Int, p spec) string {
	switch p.verb {
	case 'x':
		return b.Text(16)
	case 'X':
		return strings.ToUpper(b.Text(16))
	case 'o':
		return b.Text(8)
	case 'b':
		return b.Text(2)
	case 'c':
		if !b.IsInt64() || b.Int64() > utf8.MaxRune {
			e.fail("%%c arg not in range(0x110000)")
		}
		return string(rune(b.Int64()))
	case 0, 'd', 'n', 'i', 'u':
		return b.String()
	}
	e.fail("unknown format code '%c' for an object of type 'int'", p.verb)
	return ""
}

// floatDigits writes a float that is not negative.
func floatDigits(f float64, p spec) string {
	precision := p.precision
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return floatText(f)
	}
	if precision < 0 && p.verb != 0 {
		precision = 6
	}
	switch p.verb {
	case 'f', 'F':
		return strconv.FormatFloat(f, 'f', precision, 64)
	case '%':
		return strconv.FormatFloat(f*100, 'f', precision, 64) + "%"
	case 'e', 'E':
		return strconv.FormatFloat(f, p.verb, precision, 64)
	}
	if precision < 0 {
		return floatText(f)
	}
	return general(f, max(precision, 1), p)
}

// general is the verb g: as many digits as precision says, without zeros at the end.
func general(f float64, precision int, p spec) string {
	s := strconv.FormatFloat(f, 'e', precision-1, 64)
	mantissa, exponent, _ := strings.Cut(s, "e")
	n, _ := strconv.Atoi(exponent) // it is one
	limit := precision
	if p.verb == 0 {
		limit-- // without a verb a point remains
	}
	if n < -4 || n >= limit && (p.verb == 0 || n >= precision) {
		if strings.Contains(mantissa, ".") && !p.alternate {
			mantissa = strings.TrimRight(strings.TrimRight(mantissa, "0"), ".")
		}
		s = mantissa + "e" + exponent
	} else {
		s = strconv.FormatFloat(f, 'f', max(precision-1-n, 0), 64)
		if strings.Contains(s, ".") && !p.alternate {
			s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
		}
		if p.verb == 0 && !strings.Contains(s, ".") {
			s += ".0"
		}
	}
	if p.verb == 'G' {
		return strings.ToUpper(s)
	}
	return s
}

// grouped puts a separator between each three digits before the point.
func grouped(digits string, sep byte) string {
	n := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' })
	if n < 0 {
		n = len(digits)
	}
	var b strings.Builder
	for i := range n {
		if i > 0 && (n-i)%3 == 0 {
			b.WriteByte(sep)
		}
		b.WriteByte(digits[i])
	}
	return b.String() + digits[n:]
}

func (e *env) aligned(sign, s string, p spec, natural byte) string {
	if p.align != 0 {
		natural = p.align
	}
	switch natural {
	case '=':
		return sign + e.pad(s, p.fill, p.width-len(sign), natural == '=' && (sign != "" || p.fill != "0" || s == "" || s[0] <= '9'), false)
	case '<':
		return e.pad(sign+s, p.fill, p.width, false, true)
	case '^':
		n := max(0, p.width-utf8.RuneCountInString(sign+s))
		return e.pad(sign+s+strings.Repeat(p.fill, n-n/2), p.fill, p.width, true, false)
	}
	return e.pad(sign+s, p.fill, p.width, true, false)
}

func formatMethod(e *env, s string, a args) value { return e.format(s, a, new(int), 0) }

func formatMapMethod(e *env, s string, a args) value {
	d, ok := a.bind(e, "format_map", "mapping!")[0].(*dict)
	if !ok {
		e.fail("format_map wants a dict")
	}
	return e.format(s, (&argExprs{dict: &constExpr{d}}).eval(e), new(int), 0)
}

// format is s.format(…). A field without a name takes the next argument.
func (e *env) format(s string, a args, next *int, depth int) string {
	if depth > 1 {
		e.fail("max string recursion exceeded")
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case (c == '{' || c == '}') && i+1 < len(s) && s[i+1] == c:
			b.WriteByte(c)
			i++
		case c == '}':
			e.fail("single '}' encountered in format string")
		case c == '{':
			n := fieldEnd(s[i+1:])
			if n < 0 {
				e.fail("expected '}' before end of string")
			}
			e.room(b.Len())
			b.WriteString(e.field(s[i+1:i+1+n], a, next, depth))
			i += n + 1
		default:
			b.WriteByte(c)
		}
	}
	return e.sized(b.String())
}

// fieldEnd is where the field that s begins with ends.
func fieldEnd(s string) int {
	depth := 0
	for i := range len(s) {
		switch {
		case s[i] == '{':
			depth++
		case s[i] == '}' && depth == 0:
			return i
		case s[i] == '}':
			depth--
		}
	}
	return -1
}

// field is what stands for name!conversion:spec.
func (e *env) field(s string, a args, next *int, depth int) string {
	s, format, _ := strings.Cut(s, ":")
	name, conversion, converted := strings.Cut(s, "!")
	v := e.fieldValue(name, a, next)
	if converted {
		switch conversion {
		case "r":
			v = e.repr(v)
		case "s":
			v = e.str(v)
		default:
			e.fail("unknown conversion %q", conversion)
		}
	}
	if strings.Contains(format, "{") {
		format = e.format(format, a, next, depth+1)
	}
	return e.formatted(v, e.parseSpec(format))
}

func (e *env) fieldValue(name string, a args, next *int) (v value) {
	n := strings.IndexAny(name, ".[")
	if n < 0 {
		n = len(name)
	}
	head, rest := name[:n], name[n:]
	if head == "" {
		head = strconv.Itoa(*next)
		*next++
	}
	if i, err := strconv.Atoi(head); err == nil {
		if i < 0 || i >= len(a.list) {
			e.fail("replacement index %d out of range for positional args tuple", i)
		}
		v = a.list[i]
	} else if named, _, ok := a.take(head); ok {
		v = named
	} else {
		e.fail("format: no argument %q", head)
	}
	for rest != "" {
		if rest[0] == '.' {
			n := strings.IndexAny(rest[1:], ".[")
			if n < 0 {
				n = len(rest) - 1
			}
			v, rest = e.attribute(v, rest[1:n+1]), rest[n+1:]
			continue
		}
		n := strings.IndexByte(rest, ']')
		if rest[0] != '[' || n < 0 {
			e.fail("format: a bad field %q", name)
		}
		var key value = rest[1:n]
		if i, err := strconv.ParseInt(rest[1:n], 10, 64); err == nil {
			key = i
		}
		v, rest = e.item(v, key), rest[n+1:]
	}
	return v
}
