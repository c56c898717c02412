package chat

import (
	"math"
	"math/big"
	"strings"
)

// integer returns a small integer, and whether v is one. True is 1, as in Python.
func integer(v value) (int64, bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case int64:
		return v, true
	}
	return 0, false
}

func toBig(v value) *big.Int {
	if b, ok := v.(*big.Int); ok {
		return b
	}
	n, _ := integer(v)
	return big.NewInt(n)
}

func toFloat(v value) float64 {
	switch v := v.(type) {
	case float64:
		return v
	case *big.Int:
		f, _ := new(big.Float).SetInt(v).Float64()
		return f
	}
	n, _ := integer(v)
	return float64(n)
}

// number makes an integer as small as it can be.
func (e *env) number(b *big.Int) value {
	if b.IsInt64() {
		return b.Int64()
	}
	if b.BitLen() > maxBits {
		e.fail("makes an integer of more than %d bits", maxBits)
	}
	return b
}

// defined fails for an undefined value.
func (e *env) defined(v value) {
	if u, ok := v.(undefined); ok {
		e.fail("%s", u.message)
	}
}

// arithmetic is "a op b".
func (e *env) arithmetic(op string, a, b value) value {
	e.step(1)
	e.scan(a, b)
	if op == "~" {
		x, y := e.str(a), e.str(b)
		e.room(len(x) + len(y))
		return x + y
	}
	if s, ok := asText(a); ok && op == "%" {
		return e.percent(a, s, b)
	}
	e.defined(a)
	e.defined(b)
	if v, ok := e.sequences(op, a, b); ok {
		return v
	}
	if !isNumber(a) || !isNumber(b) {
		e.fail("unsupported operand type(s) for %s: '%s' and '%s'", op, className(a), className(b))
	}
	if isFloat(a) || isFloat(b) {
		return e.floats(op, toFloat(a), toFloat(b))
	}
	return e.integers(op, toBig(a), toBig(b))
}

// sequences adds and repeats texts and lists.
func (e *env) sequences(op string, a, b value) (value, bool) {
	if op == "*" {
		if _, ok := integer(a); ok {
			a, b = b, a
		}
		if n, ok := integer(b); ok {
			return e.repeat(a, n)
		}
		return nil, false
	}
	if op != "+" {
		return nil, false
	}
	x, ok1 := asText(a)
	y, ok2 := asText(b)
	if ok1 && ok2 {
		_, m1 := a.(markup)
		_, m2 := b.(markup)
		if m1 || m2 {
			x, y = e.escape(a), e.escape(b)
		}
		e.room(len(x) + len(y))
		if m1 || m2 {
			return markup(x + y), true
		}
		return x + y, true
	}
	l, ok1 := a.(*list)
	m, ok2 := b.(*list)
	if ok1 && ok2 && l.kind == m.kind && l.kind <= tuple {
		e.step(len(l.items) + len(m.items))
		items := append(make([]value, 0, len(l.items)+len(m.items)), l.items...)
		return &list{items: append(items, m.items...), kind: l.kind}, true
	}
	if ok1 != ok2 && ok1 {
		e.fail("can only concatenate %s (not \"%s\") to %s", className(a), className(b), className(a))
	}
	return nil, false
}

func (e *env) repeat(v value, n int64) (value, bool) {
	n = max(n, 0)
	if s, ok := asText(v); ok {
		if n > 0 && int64(len(s)) > maxBytes/n {
			e.room(maxBytes + 1)
		}
		e.room(len(s) * int(n))
		return like(v, strings.Repeat(s, int(n*int64(min(1, len(s)))))), true
	}
	l, ok := v.(*list)
	if !ok || l.kind > tuple {
		return nil, false
	}
	if n > 0 && int64(len(l.items)) > maxSteps/n {
		e.step(maxSteps + 1)
	}
	out := &list{kind: l.kind}
	if len(l.items) > 0 {
		e.step(len(l.items) * int(n))
		for range n {
			out.items = append(out.items, l.items...)
		}
	}
	return out, true
}

// integers computes with Python's rules: // and % round down.
func (e *env) integers(op string, a, b *big.Int) value {
	e.step((a.BitLen() + b.BitLen()) / 64)
	switch op {
	case "+":
		return e.number(new(big.Int).Add(a, b))
	case "-":
		return e.number(new(big.Int).Sub(a, b))
	case "*":
		return e.number(new(big.Int).Mul(a, b))
	case "**":
		if b.Sign() < 0 {
			return e.floats(op, toFloat(a), toFloat(b))
		}
		if a.BitLen() > 1 && (!b.IsInt64() || b.Int64() > int64(maxBits/(a.BitLen()-1))) {
			e.fail("makes an integer of more than %d bits", maxBits)
		}
		if a.BitLen() <= 1 { // 0, 1 or −1
			b = new(big.Int).SetUint64(uint64(b.Bit(0)) + 2*uint64(min(b.BitLen()/2, 1)))
		}
		return e.number(new(big.Int).Exp(a, b, nil))
	}
	if b.Sign() == 0 {
		e.fail("division by zero")
	}
	if op == "/" {
		f, _ := new(big.Rat).SetFrac(a, b).Float64()
		if math.IsInf(f, 0) {
			e.fail("integer division result too large for a float")
		}
		return f
	}
	q, r := new(big.Int).QuoRem(a, b, new(big.Int))
	if r.Sign() != 0 && r.Sign() != b.Sign() {
		q.Sub(q, big.NewInt(1))
		r.Add(r, b)
	}
	if op == "//" {
		return e.number(q)
	}
	return e.number(r)
}

func (e *env) floats(op string, f, g float64) value {
	switch op {
	case "+":
		return f + g
	case "-":
		return f - g
	case "*":
		return f * g
	case "**":
		return e.pow(f, g)
	}
	if g == 0 {
		e.fail("division by zero")
	}
	if op == "/" {
		return f / g
	}
	mod := math.Mod(f, g)
	div := (f - mod) / g
	switch {
	case mod != 0 && (mod < 0) != (g < 0):
		mod, div = mod+g, div-1
	case mod == 0:
		mod = math.Copysign(0, g)
	}
	if op == "%" {
		return mod
	}
	if div == 0 {
		return math.Copysign(0, f/g)
	}
	floor := math.Floor(div)
	if div-floor > 0.5 {
		floor++
	}
	return floor
}

func (e *env) pow(f, g float64) value {
	switch p := math.Pow(f, g); {
	case f == 0 && g < 0:
		e.fail("zero cannot be raised to a negative power")
	case math.IsNaN(p) && f == f && g == g:
		e.fail("a negative number cannot be raised to a fractional power")
	case math.IsInf(p, 0) && !math.IsInf(f, 0) && !math.IsInf(g, 0):
		e.fail("numerical result out of range")
	default:
		return p
	}
	return nil
}

// negative is −v.
func (e *env) negative(v value) value {
	e.defined(v)
	if f, ok := v.(float64); ok {
		return -f
	}
	if !isNumber(v) {
		e.fail("bad operand type for unary -: '%s'", className(v))
	}
	return e.number(new(big.Int).Neg(toBig(v)))
}
