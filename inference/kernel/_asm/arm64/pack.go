package main

import "fmt"

// transpose writes the function for blocks that have words dwords of values in a row:
// packing puts dword i of 32 rows side by side.
func (a *asm) transpose(words int) {
	a.beginElement(fmt.Sprintf("transpose%d", words))
	p := a.args("dst", "src", "rowBytes", "step", "block", "n")
	flip := a.floatArg("flip") // its bits
	from, to := a.gp(), a.gp()
	a.repeat(p[5], 1, func() {
		a.move(to, p[0])
		a.move(from, p[1])
		a.fixed(panelRows/4, func() {
			a.fourRows(words, from, p[2], to, flip)
			a.add(to, 16)
		})
		a.linef("ADD %v, %v", p[3], p[1])
		a.linef("ADD %v, %v", p[4], p[0])
	})
	a.ret()
}

// fourRows transposes four rows; from moves on behind them.
func (a *asm) fourRows(words int, from, rowBytes, to gp, flip vec) {
	rows := make([][]vec, 4)
	for r := range rows {
		rows[r] = a.some(words / 4)
		for i, v := range rows[r] {
			a.load(v, from, 16*i)
		}
		a.linef("ADD %v, %v", rowBytes, from)
	}
	for i := range words / 4 {
		t := a.some(4)
		for half, zip := range []string{"zip1.s", "zip2.s"} {
			a.op(zip, t[half], rows[0][i], rows[1][i])
			a.op(zip, t[2+half], rows[2][i], rows[3][i])
		}
		for j := range 4 {
			v := rows[j][i]
			a.op([]string{"zip1.d", "zip2.d"}[j%2], v, t[j/2], t[2+j/2])
			a.op("eor", v, v, flip)
			a.store(v, to, 128*(4*i+j))
		}
		a.free(t...)
	}
	for _, r := range rows {
		a.free(r...)
	}
}
