package main

import "rbee/inference/kernel/_asm/dispatch"

// expPoly is the polynomial of exp32 in ../../vector.go, from r⁷ down to r⁰.
var expPoly = []float32{1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1, 1}

const (
	expLow, expHigh, log2e, magic = -87.33654, 88.37626, 1.4426950408889634, 0x1.8p23
	ln2hi, ln2lo                  = -0x1.62e400p-1, -0x1.7f7d1cp-20
	geluCube, geluScale           = 0.044715, -2 * 0.7978845608028654
)

// element writes the elementwise functions. Those over x take n, a positive multiple of
// 16 (of 8 for pairs), and go by sixteen.
func (a *asm) element() {
	a.expSum()
	a.gate("silu", func(e *exps) func(x, out vec) { return e.siluArgument })
	a.gate("gelu", func(e *exps) func(x, out vec) { return e.geluArgument() })
	a.squares()
	a.scaleMul()
	a.quantize32()
	a.quantize256()
	a.maxAbs()
	a.largest()
	a.addTo()
	a.cap()
	a.ropeSplit()
	a.ropePairs()
	a.toHalf()
}

// beginElement starts a function of dispatch's list.
func (a *asm) beginElement(name string) {
	a.beginFunc(name+"NEON", dispatch.Elementwise(name))
}

func (a *asm) beginFunc(name string, f dispatch.Func) {
	var params []param
	for _, p := range f.Params {
		params = append(params, param{p.Name, p.Type})
	}
	a.function(name, 0, params, f.Result)
	a.declare(f.Doc)
}

func (a *asm) args(names ...string) (r []gp) {
	for _, name := range names {
		r = append(r, a.arg(name))
	}
	return r
}

// over runs body for bytes of each pointer at a time, perRound of n values.
func (a *asm) over(n gp, perRound, bytes int, pointers []gp, body func()) {
	a.repeat(n, perRound, func() {
		body()
		for _, p := range pointers {
			a.add(p, bytes)
		}
	})
}

// exps has the constants of the exponential.
type exps struct {
	*asm
	low, high, log2e, magic, ln2hi, ln2lo vec
	poly                                  []vec // the last is 1
}

func (a *asm) exps() *exps {
	e := &exps{
		asm: a, low: a.float(expLow), high: a.float(expHigh), log2e: a.float(log2e),
		magic: a.float(magic), ln2hi: a.float(ln2hi), ln2lo: a.float(ln2lo),
	}
	for _, c := range expPoly {
		e.poly = append(e.poly, a.float(c))
	}
	return e
}

// exp replaces two registers by their exponentials.
func (e *exps) exp(x [2]vec) {
	var keep, n, p, t [2]vec
	each := func(f func(i int)) { f(0); f(1) }
	each(func(i int) { keep[i], n[i], p[i], t[i] = e.v(), e.v(), e.v(), e.v() })
	each(func(i int) { e.op("fcmge", keep[i], x[i], e.low) }) // else the result is 0
	each(func(i int) { e.op("fmax", x[i], x[i], e.low) })
	each(func(i int) { e.op("fmin", x[i], x[i], e.high) })
	each(func(i int) { e.mov(n[i], e.magic) })
	each(func(i int) { e.op("fmla", n[i], x[i], e.log2e) })
	each(func(i int) { e.op("fsub", t[i], n[i], e.magic) })
	each(func(i int) { e.op("fmla", x[i], t[i], e.ln2hi) })
	each(func(i int) { e.op("fmla", x[i], t[i], e.ln2lo) })
	each(func(i int) { e.mov(p[i], e.poly[0]) })
	for _, c := range append(e.poly[1:len(e.poly):len(e.poly)], e.poly[len(e.poly)-1]) {
		each(func(i int) { e.mov(t[i], c) })
		each(func(i int) { e.op("fmla", t[i], p[i], x[i]) })
		p, t = t, p
	}
	each(func(i int) { e.shift("shl", 32, n[i], n[i], 23) })
	each(func(i int) { e.op("add", p[i], p[i], n[i]) })
	each(func(i int) { e.op("and", x[i], p[i], keep[i]) })
	each(func(i int) { e.free(keep[i], n[i], p[i], t[i]) })
}

func (a *asm) expSum() {
	a.beginElement("expSum")
	p := a.args("x", "sums", "n")
	top, e, sum := a.floatArg("top"), a.exps(), a.loadSums(p[1])
	a.over(p[2], 16, 64, p[:1], func() {
		for i := 0; i < 4; i += 2 {
			x := a.loadPair(p[0], 32*(i/2))
			a.op("fsub", x[0], x[0], top)
			a.op("fsub", x[1], x[1], top)
			e.exp(x)
			for j := range x {
				a.op("fadd", sum[i+j], sum[i+j], x[j])
				a.store(x[j], p[0], 16*(i+j))
			}
			a.free(x[:]...)
		}
	})
	a.storeSums(sum, p[1])
}

func (a *asm) loadPair(from gp, disp int) [2]vec {
	x := [2]vec{a.v(), a.v()}
	a.load(x[0], from, disp)
	a.load(x[1], from, disp+16)
	return x
}

// loadSums loads 16 partial sums.
func (a *asm) loadSums(from gp) []vec {
	sum := a.some(4)
	for i, v := range sum {
		a.load(v, from, 16*i)
	}
	return sum
}

// storeSums ends a function.
func (a *asm) storeSums(sum []vec, to gp) {
	for i, v := range sum {
		a.store(v, to, 16*i)
	}
	a.ret()
}

// gate writes dst = f(x) and dst = f(x) · y, f being x divided by 1 + exp of something.
func (a *asm) gate(name string, argument func(e *exps) func(x, out vec)) {
	for _, times := range []bool{false, true} {
		full, pointers := name, []string{"dst", "x"}
		if times {
			full, pointers = name+"Mul", append(pointers, "y")
		}
		a.beginElement(full)
		p, n := a.args(pointers...), a.arg("n")
		e := a.exps()
		prepare := argument(e)
		a.over(n, 8, 32, p, func() {
			x := a.loadPair(p[1], 0)
			d := [2]vec{a.v(), a.v()}
			prepare(x[0], d[0])
			prepare(x[1], d[1])
			e.exp(d)
			for i := range x {
				a.op("fadd", d[i], d[i], e.poly[len(e.poly)-1])
				a.op("fdiv", x[i], x[i], d[i])
				if times {
					a.load(d[i], p[2], 16*i)
					a.op("fmul", x[i], x[i], d[i])
				}
				a.store(x[i], p[0], 16*i)
			}
		})
		a.ret()
	}
}

// siluArgument: x / (1 + exp(−x)).
func (e *exps) siluArgument(x, out vec) { e.op("fneg", out, x) }

// geluArgument: x / (1 + exp(−2·√(2/π)·(x + 0.044715·x³))).
func (e *exps) geluArgument() func(x, out vec) {
	cube, scale := e.float(geluCube), e.float(geluScale)
	return func(x, out vec) {
		e.op("fmul", out, x, x)
		e.op("fmul", out, out, x)
		e.op("fmul", out, out, cube)
		e.op("fadd", out, out, x)
		e.op("fmul", out, out, scale)
	}
}

func (a *asm) squares() {
	a.beginElement("squares")
	p := a.args("x", "sums", "n")
	sum := a.loadSums(p[1])
	a.over(p[2], 16, 64, p[:1], func() {
		for i := range sum {
			v := a.v()
			a.load(v, p[0], 16*i)
			a.op("fmul", v, v, v)
			a.op("fadd", sum[i], sum[i], v)
			a.free(v)
		}
	})
	a.storeSums(sum, p[1])
}

func (a *asm) scaleMul() {
	a.beginElement("scaleMul")
	p, n := a.args("dst", "x", "w"), a.arg("n")
	scale := a.floatArg("scale")
	a.over(n, 16, 64, p, func() {
		for i := range 4 {
			v, w := a.v(), a.v()
			a.load(v, p[1], 16*i)
			a.load(w, p[2], 16*i)
			a.op("fmul", v, v, scale)
			a.op("fmul", v, v, w)
			a.store(v, p[0], 16*i)
			a.free(v, w)
		}
	})
	a.ret()
}

// quantize32 is Act32.quantize for n blocks. Sizes are compared as integers, so that a
// NaN is the largest of all.
func (a *asm) quantize32() {
	a.beginElement("quantize32")
	dst, x, n := a.arg("dst"), a.arg("x"), a.arg("n")
	limit, sizes, scale, t := a.float(1<<31), a.v(), a.v(), a.v()
	a.dwords(sizes, 0x7fffffff)
	sum := a.gp()
	v := a.some(8)
	a.over(n, 1, 128, []gp{x}, func() {
		top := a.v()
		a.zero(top)
		for i := range v {
			a.load(v[i], x, 16*i)
			a.op("and", t, v[i], sizes)
			a.op("umax", top, top, t)
		}
		a.across("umaxv", top, top)
		a.scale32(top, scale, t, dst)
		total := top
		a.zero(total)
		for _, q := range v {
			a.op("fmul", q, q, scale)
			a.integers(q, t, limit)
			a.op("add", total, total, q)
		}
		a.storeBytes(v[:4], dst, xQuants)
		a.storeBytes(v[4:], dst, xQuants+16)
		a.across("addv", total, total)
		a.linef("FMOVS F%d, %v", total, sum)
		a.linef("NEGW %v, %v", sum, sum)
		for i, by := range []int{3, 1, 3} { // −8, −16 and −128 times the sum
			a.linef("LSLW $%d, %v", by, sum)
			a.linef("MOVW %v, %d(%v)", sum, 4+4*i, dst)
		}
		a.add(dst, xSize)
		a.free(top)
	})
	a.ret()
}

// scale32 stores the scale of a block whose largest size is in the first lane of top,
// as float16 has it, and fills inv with what values are multiplied with.
func (a *asm) scale32(top, inv, t vec, dst gp) {
	a.linef("FMOVS $127.0, F%d", t)
	a.linef("FDIVS F%d, F%d, F%d", t, top, inv)
	a.linef("FCVTSH F%d, F%d", inv, inv)
	a.linef("FCVTHS F%d, F%d", inv, inv)
	a.linef("FMOVS F%d, (%v)", inv, dst)
	a.linef("FDIVS F%d, F%d, F%d", top, t, inv)
	a.linef("FMOVS ZR, F%d", t)
	a.linef("FCMPS F%d, F%d", t, top)
	a.linef("FCSELS EQ, F%d, F%d, F%d", t, inv, inv)
	a.dup(inv, inv, 0)
}

// integers rounds to integers; what has none, NaN first, gives 0: the lowest byte of
// what the specification has, and the same sum when it is multiplied by 8 or more.
func (a *asm) integers(v, t, limit vec) {
	a.op("facgt", t, limit, v)
	a.op("fcvtns", v, v)
	a.op("and", v, v, t)
}

// storeBytes stores the lowest bytes of 16 dwords.
func (a *asm) storeBytes(v []vec, to gp, disp int) {
	a.op("uzp1.h", v[0], v[0], v[1])
	a.op("uzp1.h", v[2], v[2], v[3])
	a.op("uzp1.b", v[0], v[0], v[2])
	a.store(v[0], to, disp)
}

// quantize256 writes D, Corr32 and Q of Act256, whose largest value is not 0.
func (a *asm) quantize256() {
	a.beginElement("quantize256")
	dst, x := a.arg("dst"), a.arg("x")
	scale, t, limit, top := a.floatArg("top"), a.v(), a.float(1<<31), a.float(0)
	a.dwords(top, 127)
	a.linef("FMOVS $-127.0, F%d", t)
	a.linef("FDIVS F%d, F%d, F%d", scale, t, scale)
	a.linef("FMOVS $1.0, F%d", t)
	a.linef("FDIVS F%d, F%d, F%d", scale, t, t)
	a.linef("FMOVS F%d, (%v)", t, dst)
	a.dup(scale, scale, 0)
	corr, sum := a.gp(), a.gp()
	a.linef("ADD $%d, %v, %v", kQuants+kCorr32, dst, corr)
	a.add(dst, kQuants)
	v, total := a.some(4), a.v()
	a.fixed(16, func() {
		a.zero(total)
		for i, q := range v {
			a.load(q, x, 16*i)
			a.op("fmul", q, q, scale)
			a.integers(q, t, limit)
			a.op("smin", q, q, top)
			a.op("add", total, total, q)
		}
		a.storeBytes(v, dst, 0)
		a.across("addv", total, total)
		a.linef("FMOVS F%d, %v", total, sum)
		a.linef("NEGW %v, %v", sum, sum)
		a.linef("LSLW $5, %v", sum)
		a.linef("MOVW %v, (%v)", sum, corr)
		a.add(corr, 4)
		a.add(dst, 16)
		a.add(x, 64)
	})
	a.ret()
}

// maxAbs returns the bits of the largest size, that of a NaN before all others.
func (a *asm) maxAbs() {
	a.beginElement("maxAbs")
	x, n := a.arg("x"), a.arg("n")
	top, sizes := a.v(), a.v()
	a.zero(top)
	a.dwords(sizes, 0x7fffffff)
	a.over(n, 16, 64, []gp{x}, func() {
		for i := range 4 {
			v := a.v()
			a.load(v, x, 16*i)
			a.op("and", v, v, sizes)
			a.op("umax", top, top, v)
			a.free(v)
		}
	})
	a.across("umaxv", top, top)
	a.linef("FMOVS F%d, ret+%d(FP)", top, a.offsets["ret"])
	a.ret()
}

// largest keeps the largest of every sixteenth value; a lane that has seen a NaN becomes
// one.
func (a *asm) largest() {
	a.beginElement("max")
	p := a.args("x", "lanes", "n")
	top := a.loadSums(p[1])
	a.over(p[2], 16, 64, p[:1], func() {
		for i := range top {
			v := a.v()
			a.load(v, p[0], 16*i)
			a.op("fmax", top[i], top[i], v)
			a.free(v)
		}
	})
	a.storeSums(top, p[1])
}

func (a *asm) addTo() {
	a.beginElement("add")
	p, n := a.args("dst", "x"), a.arg("n")
	a.over(n, 16, 64, p, func() {
		for i := range 4 {
			v, w := a.v(), a.v()
			a.load(v, p[0], 16*i)
			a.load(w, p[1], 16*i)
			a.op("fadd", v, v, w)
			a.store(v, p[0], 16*i)
			a.free(v, w)
		}
	})
	a.ret()
}

// cap: limit · tanh(x · scale / limit), tanh being 1 − 2/(e^2|u|+1) with u's sign.
func (a *asm) cap() {
	a.beginElement("cap")
	p, n := a.args("x"), a.arg("n")
	scale, limit, e, two, sign := a.floatArg("scale"), a.floatArg("limit"), a.exps(), a.float(2), a.v()
	a.dwords(sign, 1<<31)
	one := e.poly[len(e.poly)-1]
	a.over(n, 8, 32, p, func() {
		u := a.loadPair(p[0], 0)
		d := [2]vec{a.v(), a.v()}
		for i := range u {
			a.op("fmul", u[i], u[i], scale)
			a.op("fdiv", u[i], u[i], limit)
			a.op("fabs", d[i], u[i])
			a.op("fadd", d[i], d[i], d[i])
		}
		e.exp(d)
		for i := range u {
			a.op("fadd", d[i], d[i], one)
			a.op("fdiv", d[i], two, d[i])
			a.op("fsub", d[i], one, d[i])
			a.op("and", u[i], u[i], sign)
			a.op("eor", d[i], d[i], u[i])
			a.op("fmul", d[i], d[i], limit)
			a.store(d[i], p[0], 16*i)
		}
		a.free(u[0], u[1], d[0], d[1])
	})
	a.ret()
}

// ropeSplit: (a, b) of two places becomes (a·cos − b·sin, a·sin + b·cos).
func (a *asm) ropeSplit() {
	a.beginElement("ropeSplit")
	p, n := a.args("x", "y", "turn"), a.arg("n")
	a.over(n, 4, 16, p, func() {
		lo, hi, cos, sin := a.v(), a.v(), a.v(), a.v()
		a.load(lo, p[2], 0)
		a.load(hi, p[2], 16)
		a.op("uzp1", cos, lo, hi)
		a.op("uzp2", sin, lo, hi)
		x, y := a.v(), a.v()
		a.load(x, p[0], 0)
		a.load(y, p[1], 0)
		a.op("fmul", lo, x, cos)
		a.op("fmul", hi, y, sin)
		a.op("fsub", lo, lo, hi)
		a.store(lo, p[0], 0)
		a.op("fmul", lo, x, sin)
		a.op("fmul", hi, y, cos)
		a.op("fadd", lo, lo, hi)
		a.store(lo, p[1], 0)
		a.add(p[2], 16)
		a.free(lo, hi, cos, sin, x, y)
	})
	a.ret()
}

// ropePairs: (a, b)·cos + (−b, a)·sin.
func (a *asm) ropePairs() {
	a.beginElement("ropePairs")
	p, n := a.args("x", "turn"), a.arg("n")
	sign := a.v()
	a.linef("VMOVQ $0x80000000, $0x80000000, V%d", sign)
	a.over(n, 4, 16, p, func() {
		v, w, turn, cos := a.v(), a.v(), a.v(), a.v()
		a.load(v, p[0], 0)
		a.load(turn, p[1], 0)
		a.op("rev64", w, v)
		a.op("trn1", cos, turn, turn)
		a.op("trn2", turn, turn, turn)
		a.op("fmul", v, v, cos)
		a.op("fmul", w, w, turn)
		a.op("eor", w, w, sign)
		a.op("fadd", v, v, w)
		a.store(v, p[0], 0)
		a.free(v, w, turn, cos)
	})
	a.ret()
}
