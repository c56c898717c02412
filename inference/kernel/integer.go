package kernel

import "rbee/inference/quant"

// mulInteger adds the products of types that have no kernel of their own but are
// integers: a row's block is unpacked once for all columns.
func (m *Matrix) mulInteger(out []float32, w []byte, x []Act) {
	var v quant.Ints
	each := m.Type.BlockBytes()
	for b := range m.blocks() {
		for r := range PanelRows {
			m.Type.Unpack(&v, w[(b*PanelRows+r)*each:][:each])
			for c := range x {
				acc := &out[c*PanelRows+r]
				if m.kind == By256 {
					addInts256(acc, &v, &x[c].B[b], m.mins)
				} else {
					addInts32(acc, &v, &x[c].A[b], m.mins)
				}
			}
		}
	}
}

// addInts32 is acc − Σx·(dmin·dx) + Σ(q·x)·(d·dx). The sub-blocks of 32 have scale 1.
func addInts32(acc *float32, v *quant.Ints, x *Act32, mins bool) {
	if mins {
		*acc -= scaled(x.Corr8/-8, v.DMin, x.D)
	}
	*acc += scaled(dotInts(v.Q[:32], x.Q[:]), v.D, x.D)
}

// addInts256 is acc − Σ(min·Σx)·(dmin·dx) + Σ(scale·Σ(q·x))·(d·dx), by 16 values.
func addInts256(acc *float32, v *quant.Ints, x *Act256, mins bool) {
	if mins {
		var low int32
		for s, lowest := range v.Mins {
			low += lowest * (x.Corr32[s] / -32)
		}
		*acc -= scaled(low, v.DMin, x.D)
	}
	var total int32
	for s, scale := range v.Scales {
		total += scale * dotInts(v.Q[16*s:][:16], x.Q[16*s:][:16])
	}
	*acc += scaled(total, v.D, x.D)
}

func dotInts(a, b []int8) (sum int32) {
	for i, v := range a {
		sum += int32(v) * int32(b[i])
	}
	return sum
}
