package chat

import (
	"math"
	"math/big"
	"strconv"
	"strings"
)

// A filterFunc is "v | name(a)".
type filterFunc func(e *env, v value, a args) value

// filters are those of jinja2 that are pure, and split, which other engines have.
var filters map[string]filterFunc

func init() {
	filters = map[string]filterFunc{
		"tojson":  func(e *env, v value, a args) value { return e.toJSON(v, a) },
		"default": defaultFilter, "d": defaultFilter, "length": lengthFilter, "count": lengthFilter,
		"int": intFilter, "float": floatFilter, "abs": absFilter, "round": roundFilter,
		"attr":   attrFilter,
		"random": refused("random"), "urlize": refused("urlize"), "pprint": refused("pprint"), "wordwrap": refused("wordwrap"),
	}
	addTextFilters(filters)
	addListFilters(filters)
}

// filter is "v | name(a)".
func (e *env) filter(name string, v value, a args) value {
	e.step(1)
	e.scan(v)
	e.scan(a.list...)
	f, ok := filters[name]
	if !ok {
		e.fail("unknown filter %q", name)
	}
	return f(e, v, a)
}

func refused(name string) filterFunc {
	return func(e *env, _ value, _ args) value {
		e.fail("the filter %q is not supported", name)
		return nil
	}
}

func defaultFilter(e *env, v value, a args) value {
	b := a.bind(e, "default", "default_value", "boolean")
	if isUndefined(v) || truth(b.or(1, false)) && !truth(v) {
		return b.or(0, "")
	}
	return v
}

func lengthFilter(e *env, v value, a args) value {
	a.bind(e, "length")
	n, ok := length(v)
	if !ok {
		e.fail("object of type '%s' has no len()", className(v))
	}
	return int64(n)
}

func attrFilter(e *env, v value, a args) value {
	name := e.text(a.bind(e, "attr", "name!")[0])
	if f, ok := e.member(v, name); ok {
		return f
	}
	return lacks(v, name)
}

// parseInt reads an integer as Python's int does, nil if it is none.
func (e *env) parseInt(s string, base int) value {
	s = strip(s, isSpace, true, true)
	digits := strings.TrimLeft(s, "+-")
	if len(s)-len(digits) > 1 || digits == "" || len(digits) > maxBits/4 || strings.Contains(digits, "__") {
		return nil
	}
	prefix := map[int]string{16: "0x", 8: "0o", 2: "0b"}[base]
	if len(digits) > 2 && prefix != "" && strings.EqualFold(digits[:2], prefix) {
		digits = digits[2:]
	}
	if digits[0] == '_' || digits[len(digits)-1] == '_' || digits[0] == '+' || digits[0] == '-' {
		return nil
	}
	b, ok := new(big.Int).SetString(strings.ReplaceAll(digits, "_", ""), base)
	if !ok {
		return nil
	}
	if s[0] == '-' {
		b.Neg(b)
	}
	return e.number(b)
}

// parseFloat reads a float as Python's float does.
func parseFloat(s string) (float64, bool) {
	s = strip(s, isSpace, true, true)
	if strings.ContainsAny(s, "xXpP") {
		return 0, false
	}
	if strings.Contains(s, "_") {
		if strings.Contains(s, "__") || strings.HasPrefix(s, "_") || strings.HasSuffix(s, "_") {
			return 0, false
		}
		s = strings.ReplaceAll(s, "_", "")
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil || math.IsInf(f, 0)
}

func intFilter(e *env, v value, a args) value {
	b := a.bind(e, "int", "default", "base")
	e.defined(v)
	fallback := b.or(0, int64(0))
	f := math.NaN()
	if s, ok := asText(v); ok {
		base := e.int(b.or(1, int64(10)))
		if base < 2 || base > 36 {
			return fallback
		}
		if n := e.parseInt(s, base); n != nil {
			return n
		}
		if parsed, ok := parseFloat(s); ok {
			f = parsed
		}
	} else if isFloat(v) {
		f = toFloat(v)
	} else if isNumber(v) {
		return e.number(toBig(v))
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return fallback
	}
	n, _ := big.NewFloat(f).Int(nil)
	return e.number(n)
}

func floatFilter(e *env, v value, a args) value {
	fallback := a.bind(e, "float", "default").or(0, float64(0))
	e.defined(v)
	if s, ok := asText(v); ok {
		if f, ok := parseFloat(s); ok {
			return f
		}
		return fallback
	}
	if !isNumber(v) {
		return fallback
	}
	return toFloat(v)
}

func absFilter(e *env, v value, a args) value {
	a.bind(e, "abs")
	if !isNumber(v) {
		e.fail("bad operand type for abs(): '%s'", className(v))
	}
	if f, ok := v.(float64); ok {
		return math.Abs(f)
	}
	return e.number(new(big.Int).Abs(toBig(v)))
}

func roundFilter(e *env, v value, a args) value {
	b := a.bind(e, "round", "precision", "method")
	digits, method := e.int(b.or(0, int64(0))), e.text(b.or(1, "common"))
	if !isNumber(v) {
		e.fail("round: want a number, got %s", className(v))
	}
	if digits < -300 || digits > 300 {
		e.fail("round to %d digits", digits)
	}
	switch method {
	case "common":
		return e.round(v, digits)
	case "ceil", "floor":
		p := math.Pow(10, float64(digits))
		if x := toFloat(v) * p; method == "ceil" {
			return math.Ceil(x) / p
		}
		return math.Floor(toFloat(v)*p) / p
	}
	e.fail("method must be common, ceil or floor")
	return nil
}

// round is Python's round: half to even, by the exact value.
func (e *env) round(v value, digits int) value {
	f, ok := v.(float64)
	switch {
	case !ok && digits >= 0:
		return e.number(toBig(v))
	case !ok:
		p := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(-digits)), nil)
		q, r := new(big.Int).DivMod(toBig(v), p, new(big.Int))
		if c := new(big.Int).Lsh(r, 1).Cmp(p); c > 0 || c == 0 && q.Bit(0) == 1 {
			q.Add(q, big.NewInt(1))
		}
		return e.number(q.Mul(q, p))
	case math.IsInf(f, 0) || math.IsNaN(f):
		return f
	case digits < 0:
		p := math.Pow(10, float64(-digits))
		return math.RoundToEven(f/p) * p
	}
	rounded, _ := strconv.ParseFloat(strconv.FormatFloat(f, 'f', digits, 64), 64) // it is one
	return rounded
}
