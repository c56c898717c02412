package quant

// Ints is a block in integers: value i is D·Scales[i/16]·Q[i] − DMin·Mins[i/16].
// A block of 32 uses the first two scales.
type Ints struct {
	D, DMin      float32
	Scales, Mins [16]int32
	Q            [256]int8
}

// HasMins tells whether blocks of the type have minima.
func (t Type) HasMins() bool { return t == Q41 || t == Q51 || t == Q2K }

// Unpack sets v to the block in src, and tells whether the type has such a form.
func (t Type) Unpack(v *Ints, src []byte) bool {
	switch t {
	case Q41:
		v.unpackQ41(src)
	case Q51:
		v.unpackQ51(src)
	case Q2K:
		v.unpackQ2K(src)
	case Q3K:
		v.unpackQ3K(src)
	case IQ4NL:
		v.unpackIQ4NL(src)
	case IQ4XS:
		v.unpackIQ4XS(src)
	case MXFP4:
		v.unpackMXFP4(src)
	default:
		return false
	}
	return true
}

// decodeInts decodes the types that Unpack knows.
func (t Type) decodeInts(dst []float32, src []byte) {
	var v Ints
	n, size := t.Block(), t.BlockBytes()
	for ; len(src) > 0; dst, src = dst[n:], src[size:] {
		t.Unpack(&v, src[:size])
		for s := range n / 16 {
			scale, low := v.D*float32(v.Scales[s]), float32(v.DMin*float32(v.Mins[s]))
			for i, q := range v.Q[16*s:][:16] {
				dst[16*s+i] = float32(scale*float32(q)) - low
			}
		}
	}
}

// one sets the scales of a block of 32, which has one.
func (v *Ints) one(d float32) {
	v.D, v.DMin = d, 0
	v.Scales[0], v.Scales[1] = 1, 1
}

// oneMin gives a block of 32 something to add to each value.
func (v *Ints) oneMin(m float32) {
	v.DMin = -m
	v.Mins[0], v.Mins[1] = 1, 1
}
