package kernel

import (
	"encoding/binary"
	"fmt"

	"rbee/inference/quant"
)

// mulInteger adds the products of types without a twin of their own: a row's block
// is unpacked once for all columns.
func (m *Matrix) mulInteger(out []float32, w []byte, x []Act) {
	var v quant.Ints
	each := m.Type.BlockBytes()
	for b := range m.blocks {
		for r := range PanelRows {
			m.unpack(&v, w[b*PanelRows*each:][:PanelRows*each], r)
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

// unpack undoes packing for one row of a panel's block.
func (m *Matrix) unpack(v *quant.Ints, block []byte, row int) {
	var file [256]byte
	src := file[:m.Type.BlockBytes()]
	unpackRow(m.Type, src, block, row)
	m.Type.Unpack(v, src)
}

// unpackRow sets src, which is zero, to the row's block as the file has it.
func unpackRow(t quant.Type, src, block []byte, row int) {
	switch t {
	case quant.IQ4NL:
		unpackNibbles(src[2:18], block, row)
		copy(src[:2], block[512+2*row:])
	case quant.MXFP4:
		unpackNibbles(src[1:17], block, row)
		src[0] = block[512+row]
	case quant.Q41:
		unpackNibbles(src[4:20], block, row)
		copy(src[:2], block[512+2*row:])
		copy(src[2:4], block[576+2*row:])
	case quant.Q51:
		unpackQ51(src, block, row)
	case quant.Q2K:
		unpackQ2K(src, block, row)
	case quant.Q3K:
		unpackQ3K(src, block, row)
	case quant.IQ4XS:
		unpackIQ4XS(src, block, row)
	default:
		panic(fmt.Sprintf("kernel: no product of %v", t))
	}
}

// dwordAt reads what dword writes.
func dwordAt(block []byte, base, i, row int) uint32 { return word(block[base+4*PanelRows*i+4*row:]) }

func putWord(b []byte, v uint32) { binary.LittleEndian.PutUint32(b, v) }

func unpackQ51(src, block []byte, row int) {
	unpackNibbles(src[8:24], block, row)
	copy(src[:2], block[640+2*row:])
	copy(src[2:4], block[704+2*row:])
	fifth, high := dwordAt(block, 512, 0, row), uint32(0)
	for k := range 32 {
		high |= fifth >> (8*(k%4) + 2*(k/4%4) + k/16) & 1 << k
	}
	putWord(src[4:], high)
}

func unpackQ2K(src, block []byte, row int) {
	copy(src[80:82], block[2*row:])
	copy(src[82:84], block[64+2*row:])
	for i := range 4 {
		putWord(src[4*i:], dwordAt(block, 128, i, row))
	}
	for s := range 16 {
		unpackPairs(src[16:], dwordAt(block, 640, s, row), s)
	}
}

func unpackQ3K(src, block []byte, row int) {
	copy(src[108:110], block[2*row:])
	for i := range 3 {
		putWord(src[96+4*i:], dwordAt(block, 64, i, row))
	}
	for p := range 8 {
		third := dwordAt(block, 448, 3*p, row)
		for i := range 8 {
			putWord(src[4*i:], word(src[4*i:])|third>>i&ones<<p)
		}
		unpackPairs(src[32:], dwordAt(block, 448, 3*p+1, row), 2*p)
		unpackPairs(src[32:], dwordAt(block, 448, 3*p+2, row), 2*p+1)
	}
}

func unpackNibbles(src, block []byte, row int) {
	for i := range 4 {
		copy(src[4*i:][:4], block[128*i+4*row:])
	}
}

func unpackPairs(src []byte, v uint32, s int) {
	for j := range 4 {
		at := src[32*(s/8)+16*(s%2)+4*j:]
		putWord(at, word(at)|v>>(2*j)&0x03030303<<(2*(s%8/2)))
	}
}

func unpackIQ4XS(src, block []byte, row int) {
	copy(src[:2], block[2*row:])
	top, low := binary.LittleEndian.Uint16(block[64+2*row:]), word(block[128+4*row:])
	var high uint16
	for i := range 4 {
		n := top >> (4 * i)
		high |= n&3<<(2*i) | n>>2&3<<(8+2*i)
		b := byte(low >> (8 * i))
		src[4+i/2] |= b & 15 << (4 * (i % 2))
		src[6+i/2] |= b >> 4 << (4 * (i % 2))
	}
	binary.LittleEndian.PutUint16(src[2:], high)
	for i := range 32 {
		copy(src[8+4*i:][:4], block[256+128*i+4*row:])
	}
}
