package main

// format32 is a format of blocks of 32 k with one scale.
type format32 struct {
	name  string
	size  int    // of a panel's block, 32 rows × 32 k
	corr  int    // the lane of the activation's correction, 0 if weights have their sign
	dot   string // how values are stored: nibbles, fives (a fifth bit apart), bytes, levels
	scale int    // where the scales are
	min   int    // where what is added to each value is; 0: nowhere
	limit int    // how many products of its values and activations 16 bits hold
}

// Layouts: ../../pack.go.
var formats32 = []format32{
	{"q40", 576, xCorr8, "nibbles", 512, 0, 8},
	{"q41", 640, 0, "nibbles", 512, 576, 8},
	{"q50", 704, xCorr16, "fives", 640, 0, 8}, // 8·31·127 = 31496
	{"q51", 768, 0, "fives", 640, 704, 8},
	{"q80", 1088, 0, "bytes", 1024, 0, 2}, // 2·128·127 = 32512
	{"iq4nl", 576, 0, "levels", 512, 0, 2},
	{"mxfp4", 544, 0, "levels", 512, 0, 8},
}

// The values that nibbles stand for, sixteen bytes: quant.levelsIQ4 and levelsFP4.
var levels = map[string][16]int8{
	"iq4nl": {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113},
	"iq4xs": {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113},
	"mxfp4": {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12},
}

// levelTable loads the table of a format.
func (t *tile) levelTable(name string) vec {
	v := t.v()
	var half [2]uint64
	for i, b := range levels[name] {
		half[i/8] |= uint64(uint8(b)) << (8 * (i % 8))
	}
	t.linef("VMOVQ $0x%x, $0x%x, V%d", half[0], half[1], v)
	return v
}

// tile32 is the kernel of a format.
type tile32 struct {
	*tile
	format32
	head        []vec   // the first 16 bytes of each column's block
	sum         [][]vec // the floats so far, nil if they stay in memory
	mask, other vec     // of nibbles; of fifth bits or signs, or the table
	eighth      vec     // −1/8
}

func (a *asm) kernel32(f format32, s set, cols int) {
	t := &tile32{tile: a.beginTile(f.name, s, cols, 0, f.limit), format32: f}
	t.head = t.some(cols)
	t.takeQuants(2)
	t.constants()
	t.loadSums()
	width := 2
	if f.name == "mxfp4" {
		width = 1
	}
	t.walk(32, f.size, width, xSize, t.block)
	t.storeSums()
	t.done()
}

func (t *tile32) constants() {
	if t.format32.dot != "bytes" {
		t.mask = t.constant(0x0f)
	}
	switch t.format32.dot {
	case "fives":
		t.other = t.constant(0x10)
	case "bytes":
		t.other = t.constant(0x80)
	case "levels":
		t.other = t.levelTable(t.format32.name)
	}
	if t.min != 0 {
		t.eighth = t.float(-0.125)
	}
}

// loadSums: one strip that is the whole panel has its floats in registers.
func (t *tile32) loadSums() {
	if t.strips() > 1 {
		return
	}
	t.sum = make([][]vec, t.rows)
	t.each(func(r, c int) {
		v := t.v()
		t.load(v, t.dst, t.outAt(r, c))
		t.sum[r] = append(t.sum[r], v)
	})
}

func (t *tile32) storeSums() {
	if t.sum != nil {
		t.each(func(r, c int) { t.store(t.sum[r][c], t.dst, t.outAt(r, c)) })
	}
}

// block adds one block of one strip.
func (t *tile32) block() {
	for c, x := range t.x {
		t.load(t.head[c], x, 0)
	}
	t.quants(xQuants, 2)
	var start func(c int) (vec, int)
	if t.corr != 0 {
		start = func(c int) (vec, int) { return t.head[c], t.corr }
	}
	t.begin(start)
	for r := range t.rows {
		switch t.format32.dot {
		case "nibbles":
			t.dotNibbles(r, 0, t.mask, nil)
		case "levels":
			t.dotNibbles(r, 0, t.mask, &t.other)
		case "fives":
			t.dotFives(r, 0, t.mask, t.other)
		default:
			t.dotBytes(r, 0, t.other)
		}
	}
	t.end(start)
	total := t.totals()
	for r := range t.rows {
		t.finish(r, total)
	}
	t.free(total...)
}

// totals are the sums of each column's activations as floats, in lane xCorr8.
func (t *tile32) totals() (total []vec) {
	if t.min == 0 {
		return nil
	}
	for c := range t.cols {
		v := t.v()
		t.op("scvtf", v, t.head[c])
		t.op("fmul", v, v, t.eighth)
		total = append(total, v)
	}
	return total
}

// finish adds float(Σx)·(min·x.scale) and float(acc)·(scale·x.scale), each rounded by
// itself.
func (t *tile32) finish(r int, total []vec) {
	var d, least vec
	if t.format32.name == "mxfp4" {
		d = t.powers(r)
	} else {
		d = t.halves(r, t.scale)
	}
	if t.min != 0 {
		least = t.halves(r, t.min)
	}
	for c := range t.cols {
		acc, f := t.acc[r][c], t.v()
		sum := f
		if t.sum != nil {
			sum = t.sum[r][c]
		} else {
			t.load(sum, t.dst, t.outAt(r, c))
		}
		x := t.v()
		if t.min != 0 {
			t.lane("fmul", x, least, t.head[c], xScale)
			t.lane("fmul", x, x, total[c], xCorr8)
			t.op("fadd", sum, sum, x)
		}
		t.lane("fmul", x, d, t.head[c], xScale)
		t.op("scvtf", acc, acc)
		t.op("fmul", acc, acc, x)
		t.op("fadd", sum, sum, acc)
		if t.sum == nil {
			t.store(sum, t.dst, t.outAt(r, c))
		}
		t.free(f, x)
	}
	t.free(d)
	if t.min != 0 {
		t.free(least)
	}
}

// powers loads four scales that are powers of two: 2^(e−128).
func (t *tile32) powers(r int) vec {
	e, d, k := t.v(), t.v(), t.v()
	t.load4(e, t.s, t.scale+4*r)
	t.op("uxtl.bh", e, e)
	t.op("uxtl.hs", e, e)
	t.dwords(d, 0xffffffff)
	t.op("add", d, d, e)
	t.shift("shl", 32, d, d, 23)
	t.dwords(k, 1)
	normal := t.v()
	t.op("cmhi", normal, e, k) // else a denormal number
	t.dwords(k, 0x00200000)
	t.op("ushl", k, k, e)
	t.op("bsl", normal, d, k)
	t.free(e, d, k)
	return normal
}
