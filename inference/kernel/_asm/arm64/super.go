package main

// Offsets from the int8 activations of a block of 256, Act256, whose size is kSize.
const kQuants, kSize, kScale, kCorr32 = 116, 372, -116, -64

// formatK is a format of blocks of 256 k whose integers are scaled by integers:
// Σ scale[s]·(Σ w·x) stays exact, and there is one float operation per block. Four
// sub-blocks, whose scales are bytes of one dword, are a part.
type formatK struct {
	name   string
	size   int  // of a panel's block
	min    int  // where the float16 of minima are, 0: there are none
	k      int  // of a sub-block: 16 or 32
	quants int  // where the sub-blocks are
	sub    int  // bytes of one
	signed bool // whether scales are
	corr   int  // −Σx·offset is the activation's −32·Σx shifted right by this, −1: weights have their sign
	limit  int  // how many products 16 bits hold

	scales func(t *tileK, r, part int) vec // a dword of four scales
	mins   func(t *tileK, r, part int) vec
	masks  func(t *tileK) []vec // what dot needs
	dot    func(t *tileK, r, sub int)
}

// Layouts: ../../pack.go. d is first, but for what stands there.
var formatsK = []formatK{
	{"q4k", 4608, 64, 32, 512, 512, false, -1, 8, scalesQ4K, minsQ4K, masks(0x0f), dotQ4K},
	{"q5k", 5632, 64, 32, 512, 640, false, -1, 8, scalesQ4K, minsQ4K, masks(0x0f, 0x10), dotQ5K},
	{"q6k", 6720, 0, 16, 576, 384, true, 0, 8, scalesQ6K, nil, masks(0x0f, 0x30), dotQ6K}, // 4·63·127 = 32004
	{"q2k", 2688, 64, 16, 640, 128, false, -1, 8, scalesQ2K, minsQ2K, masks(0x03), dotQ2K},
	{"q3k", 3520, 0, 16, 448, 192, true, 3, 8, scalesQ3K, nil, masks(0x03, 0x04), dotQ3K},
	{"iq4xs", 4352, 0, 32, 256, 512, true, -1, 2, scalesIQ4XS, nil, masksIQ4XS, dotIQ4XS},
}

// masks are registers full of one byte each.
func masks(bytes ...uint8) func(*tileK) []vec {
	return func(t *tileK) (v []vec) {
		for _, b := range bytes {
			v = append(v, t.constant(b))
		}
		return v
	}
}

// tileK keeps the integer sums of a super-block in total, the floats in memory.
type tileK struct {
	*tile
	formatK
	total   [][]vec
	mask    []vec
	frame   gp    // where the unpacked scales are
	correct []gp  // where each column's corrections are
	corrs   []vec // four of each
}

func (a *asm) kernelK(f formatK, s set, cols int) {
	parts := 64 / f.k
	rows := 8 / cols
	if !s.dot {
		rows = 4 / cols
	}
	t := &tileK{tile: a.beginTile(f.name, s, cols, 16*parts*rows, f.limit), formatK: f, frame: a.gp()}
	for range cols {
		t.correct = append(t.correct, t.gp())
	}
	for _, x := range t.x {
		t.add(x, kQuants)
	}
	t.total = make([][]vec, rows)
	for r := range rows {
		t.total[r] = t.some(cols)
	}
	t.mask = f.masks(t)
	t.walk(256, f.size, 2, kSize, t.block)
	t.done()
}

func (t *tileK) parts() int { return 64 / t.k }

// block adds one block of one strip.
func (t *tileK) block() {
	if t.min != 0 {
		t.minima()
	}
	t.unpackScales()
	t.each(func(r, c int) { t.zero(t.total[r][c]) })
	if t.corr >= 0 {
		for c, x := range t.x {
			t.linef("SUB $%d, %v, %v", -kCorr32, x, t.correct[c])
		}
		t.corrs = t.some(t.cols)
	}
	t.takeQuants(t.k / 16)
	w := t.gp()
	t.move(w, t.w)
	t.fixed(t.parts(), func() {
		t.part()
		t.add(t.w, 4*t.sub)
		t.add(t.frame, 16*t.rows)
		for _, x := range t.x {
			t.add(x, 4*t.k)
		}
	})
	t.move(t.w, w)
	t.gps = append(t.gps, w)
	for c, x := range t.x {
		t.add(x, -256)
		t.free(t.q[c]...)
	}
	t.free(t.corrs...)
	t.q, t.corrs = nil, nil
	t.finish(t.total, 0, "fadd")
}

// unpackScales leaves the scales of all parts in the frame.
func (t *tileK) unpackScales() {
	t.line("MOVD RSP, " + t.frame.String())
	t.add(t.frame, 16)
	for part := range t.parts() {
		for r := range t.rows {
			v := t.scales(t, r, part)
			t.store(v, t.frame, 16*(part*t.rows+r))
			t.free(v)
		}
	}
}

// part adds four sub-blocks.
func (t *tileK) part() {
	for c, from := range t.correct {
		if t.corr >= 0 {
			t.load(t.corrs[c], from, 0)
			t.add(from, 16)
		}
		if t.corr > 0 {
			t.shift("sshr", 32, t.corrs[c], t.corrs[c], t.corr)
		}
	}
	for s := range 4 {
		t.tile.quants(t.k*s, t.k/16)
		var start func(c int) (vec, int)
		if t.corr >= 0 {
			start = func(c int) (vec, int) { return t.corrs[c], s }
		}
		t.begin(start)
		for r := range t.rows {
			t.formatK.dot(t, r, s)
		}
		t.end(start)
		t.addTotal(s)
	}
}

// addTotal does total += acc · scale of sub-block s, integers.
func (t *tileK) addTotal(s int) {
	for r := range t.rows {
		v := t.v()
		t.load(v, t.frame, 16*r)
		t.byteOf(v, v, s, t.signed)
		for c := range t.cols {
			t.op("mla", t.total[r][c], t.acc[r][c], v)
		}
		t.free(v)
	}
}

// byteOf takes byte i of each dword.
func (t *tileK) byteOf(d, v vec, i int, signed bool) {
	right := "ushr"
	if signed {
		right = "sshr"
	}
	if i < 3 {
		t.shift("shl", 32, d, v, 24-8*i)
		v = d
	}
	t.shift(right, 32, d, v, 24)
}

// minima takes away float(Σ min·Σx)·(dmin·x.scale).
func (t *tileK) minima() {
	t.each(func(r, c int) { t.zero(t.total[r][c]) })
	sums := t.some(t.cols)
	for part := range t.parts() {
		for c, x := range t.x {
			if t.k == 16 {
				t.load(sums[c], x, kCorr32+16*part)
				continue
			}
			next := t.v()
			t.load(sums[c], x, kCorr32+32*part)
			t.load(next, x, kCorr32+32*part+16)
			t.op("addp", sums[c], sums[c], next)
			t.free(next)
		}
		for r := range t.rows {
			v := t.mins(t, r, part)
			t.addMinima(r, v, sums)
			t.free(v)
		}
	}
	t.free(sums...)
	t.each(func(r, c int) { t.shift("sshr", 32, t.total[r][c], t.total[r][c], 5) })
	t.finish(t.total, t.min, "fsub")
}

// addMinima adds 32·min·Σx of four sub-blocks; sums are −32·Σx.
func (t *tileK) addMinima(r int, v vec, sums []vec) {
	m := t.v()
	for i := range 4 {
		t.byteOf(m, v, i, false)
		for c := range t.cols {
			t.lane("mls", t.total[r][c], m, sums[c], i)
		}
	}
	t.free(m)
}

// finish does dst ±= float(v)·(scale·x.scale).
func (t *tileK) finish(v [][]vec, scale int, op string) {
	dx := t.some(t.cols)
	for c, x := range t.x {
		t.load4(dx[c], x, kScale)
	}
	for r := range t.rows {
		d := t.halves(r, scale)
		for c := range t.cols {
			x, sum := t.v(), t.v()
			t.lane("fmul", x, d, dx[c], 0)
			t.op("scvtf", v[r][c], v[r][c])
			t.op("fmul", x, x, v[r][c])
			t.load(sum, t.dst, t.outAt(r, c))
			t.op(op, sum, sum, x)
			t.store(sum, t.dst, t.outAt(r, c))
			t.free(x, sum)
		}
		t.free(d)
	}
	t.free(dx...)
}

// masked loads a dword of scales and keeps some bits of each byte.
func (t *tileK) masked(r, disp int, bits uint8) vec {
	v, m := t.dword(r, disp), t.constant(bits)
	t.op("and", v, v, m)
	t.free(m)
	return v
}

// top puts the two highest bits of each byte of a dword above the nibbles of v.
func (t *tileK) top(v vec, r, disp int) vec {
	high := t.dword(r, disp)
	t.shift("ushr", 8, high, high, 6)
	t.shift("sli", 8, v, high, 4)
	t.free(high)
	return v
}

// A Q4_K or Q5_K panel: d, min (float16 × 32 each), three dwords of 6-bit scales per
// row, then 8 sub-blocks of 4 dwords of nibbles (and one of fifth bits).
func scalesQ4K(t *tileK, r, part int) vec {
	if part == 0 {
		return t.masked(r, 128, 0x3f)
	}
	return t.top(t.masked(r, 384, 0x0f), r, 128)
}

func minsQ4K(t *tileK, r, part int) vec {
	if part == 0 {
		return t.masked(r, 256, 0x3f)
	}
	v := t.dword(r, 384)
	t.shift("ushr", 8, v, v, 4)
	return t.top(v, r, 256)
}

func dotQ4K(t *tileK, r, s int) { t.dotNibbles(r, t.formatK.quants+t.sub*s, t.mask[0], nil) }

func dotQ5K(t *tileK, r, s int) { t.dotFives(r, t.formatK.quants+t.sub*s, t.mask[0], t.mask[1]) }

// A Q6_K panel: d, four dwords of scales, then per 16 k a dword of the pairs of high
// bits and two of nibbles: low k 0–7, high k 8–15.
func scalesQ6K(t *tileK, r, part int) vec { return t.dword(r, 64+128*part) }

func dotQ6K(t *tileK, r, s int) {
	at := t.formatK.quants + t.sub*s
	top := t.dword(r, at)
	for i := range 2 {
		w := t.nibbles(t.dword(r, at+128+128*i), t.mask[0])
		t.orBits(w[0], top, t.mask[1], 4-2*i)
		t.orBits(w[1], top, t.mask[1], -2*i)
		t.multiply(r, w, i, 2+i)
		t.free(w[:]...)
	}
	t.free(top)
}

// A Q2_K panel: d, min, four dwords of scales (low halves) and minima per row, then per
// 16 k a dword: bits 2j of byte i are k 4j+i.
func scalesQ2K(t *tileK, r, part int) vec { return t.masked(r, 128+128*part, 0x0f) }

func minsQ2K(t *tileK, r, part int) vec {
	v := t.dword(r, 128+128*part)
	t.shift("ushr", 8, v, v, 4)
	return v
}

func dotQ2K(t *tileK, r, s int) {
	v := t.dword(r, t.formatK.quants+t.sub*s)
	for j := 0; j < 4; j += 2 {
		w := [2]vec{t.pairs(v, j), t.pairs(v, j+1)}
		t.multiply(r, w, j, j+1)
		t.free(w[:]...)
	}
	t.free(v)
}

// pairs takes bits 2j of each byte.
func (t *tileK) pairs(v vec, j int) vec {
	d := t.v()
	if j > 0 {
		t.shift("ushr", 8, d, v, 2*j)
		v = d
	}
	if j < 3 {
		t.op("and", d, v, t.mask[0])
	}
	return d
}

// A Q3_K panel: d, three dwords of scales, then per 32 k a dword of third bits (bit
// 4t+j of byte i is k 16t+4j+i) and two as in Q2_K.
func scalesQ3K(t *tileK, r, part int) vec {
	v := t.dword(r, 64+128*(part%2))
	if part >= 2 {
		t.shift("ushr", 8, v, v, 4)
	} else {
		m := t.constant(0x0f)
		t.op("and", v, v, m)
		t.free(m)
	}
	high := t.dword(r, 64+256)
	return t.sixSigned(v, high, 4-2*part)
}

// sixSigned puts two bits of each byte of high, shifted, above the nibbles of v and
// takes 32 away.
func (t *tileK) sixSigned(v, high vec, by int) vec {
	m := t.constant(0x30)
	t.orBits(v, high, m, by)
	t.bytes(m, 32)
	t.op("sub", v, v, m)
	t.free(high, m)
	return v
}

func dotQ3K(t *tileK, r, s int) {
	at := t.formatK.quants + 384*(s/2)
	top, v := t.dword(r, at), t.dword(r, at+128+128*(s%2))
	for j := 0; j < 4; j += 2 {
		var w [2]vec
		for i := range w {
			w[i] = t.pairs(v, j+i)
			t.orBits(w[i], top, t.mask[1], 2-4*(s%2)-j-i)
		}
		t.multiply(r, w, j, j+1)
		t.free(w[:]...)
	}
	t.free(top, v)
}

// An IQ4_XS panel: d, four nibbles of high bits of scales in 16 bits per row, a dword of
// low bits, then 8 sub-blocks as in IQ4_NL. Byte i of the dword has the low bits of
// scales i and 4+i, nibble i their high ones.
func scalesIQ4XS(t *tileK, r, part int) vec {
	v, high, x := t.dword(r, 128), t.v(), t.v()
	t.load8(high, t.s, 64+8*r)
	t.op("uxtl.hs", high, high)
	for _, spread := range []struct {
		by   int
		mask uint32
	}{{8, 0x00ff00ff}, {4, 0x0f0f0f0f}} { // nibble i goes to byte i
		t.shift("shl", 32, x, high, spread.by)
		t.op("orr", high, high, x)
		t.dwords(x, spread.mask)
		t.op("and", high, high, x)
	}
	if part == 0 {
		t.op("and", v, v, x) // its low nibbles
	} else {
		t.shift("ushr", 8, v, v, 4)
	}
	t.free(x)
	return t.sixSigned(v, high, 4-2*part)
}

func masksIQ4XS(t *tileK) []vec { return []vec{t.constant(0x0f), t.levelTable("iq4xs")} }

func dotIQ4XS(t *tileK, r, s int) { t.dotNibbles(r, t.formatK.quants+t.sub*s, t.mask[0], &t.mask[1]) }
