package kernel

import (
	"math"
	"slices"
)

// fma32 is a·b + c rounded once, as the FMA instructions do it. float64's FMA
// would round twice; so the float64 sum is first rounded to odd, which a second
// rounding to fewer bits cannot make wrong (Boldo and Melquiond).
func fma32(a, b, c float32) float32 {
	p, q := float64(a)*float64(b), float64(c) // p is exact
	s := p + q
	t := s - p
	lost := (p - (s - t)) + (q - t) // what the sum lost, exactly
	if bits := math.Float64bits(s); lost != 0 && bits&1 == 0 && !math.IsInf(s, 0) {
		if (lost > 0) == (s > 0) {
			bits++
		} else {
			bits--
		}
		s = math.Float64frombits(bits)
	}
	return float32(s)
}

// exp32 is e^x with an error of at most 2 units in the last place, 0 below
// −87.33654 and e^88.37626 above that. The polynomial is Cephes'.
func exp32(x float32) float32 {
	const low, high = -87.33654, 88.37626
	if !(x >= low) {
		return 0
	}
	x = min(x, high)
	t := fma32(x, 1.4426950408889634, 0x1.8p23) // its low bits are the integer
	n := t - 0x1.8p23
	r := fma32(n, -0x1.62e400p-1, x)
	r = fma32(n, -0x1.7f7d1cp-20, r)
	p := float32(1.9875691500e-4)
	for _, c := range [...]float32{1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1, 1, 1} {
		p = fma32(p, r, c)
	}
	return math.Float32frombits(math.Float32bits(p) + math.Float32bits(t)<<23)
}

// fold adds 16 partial sums 8, 4, 2 and 1 apart.
func fold(sums *[16]float32) float32 {
	for step := 8; step > 0; step /= 2 {
		for i := range step {
			sums[i] += sums[i+step]
		}
	}
	return sums[0]
}

// Max returns the largest value of x, NaN if there is one, −∞ if x is empty.
func Max(x []float32) float32 {
	var lanes [16]float32
	for i := range lanes {
		lanes[i] = float32(math.Inf(-1))
	}
	for i := largest(x, &lanes); i < len(x); i++ {
		lanes[0] = max(lanes[0], x[i])
	}
	return slices.Max(lanes[:]) + 0 // −0 becomes 0, whichever came first
}

// Add adds x to dst.
func Add(dst, x []float32) {
	for i := add(dst, x); i < len(x); i++ {
		dst[i] += x[i]
	}
}

// ExpSum sets x to exp(x − top) and returns the sum.
func ExpSum(x []float32, top float32) float32 {
	var sums [16]float32
	for i := expSum(x, &sums, top); i < len(x); i++ {
		x[i] = exp32(x[i] - top)
		sums[i%16] += x[i]
	}
	return fold(&sums)
}

// SiluMul sets dst = x/(1+exp(−x)) · y. dst may be x or y.
func SiluMul(dst, x, y []float32) {
	for i := siluMul(dst, x, y); i < len(x); i++ {
		v := x[i]
		dst[i] = float32(v/(1+exp32(-v))) * y[i]
	}
}

// RMSNorm sets dst = x / √(mean(x²) + eps) · w. dst may be x.
func RMSNorm(dst, x, w []float32, eps float32) {
	var sums [16]float32
	for i := squares(x, &sums); i < len(x); i++ {
		sums[i%16] += float32(x[i] * x[i])
	}
	mean := float64(fold(&sums)) / float64(len(x))
	scale := float32(1 / math.Sqrt(mean+float64(eps)))
	for i := scaleMul(dst, x, w, scale); i < len(x); i++ {
		dst[i] = float32(x[i]*scale) * w[i]
	}
}

// RopePairs turns neighbouring pairs of x by the angles whose cosines and sines
// alternate in turn: (a, b) becomes (a·cos − b·sin, a·sin + b·cos).
func RopePairs(x, turn []float32) {
	for i := ropePairs(x, turn); i+1 < len(turn); i += 2 {
		a, b, cos, sin := x[i], x[i+1], turn[i], turn[i+1]
		x[i] = float32(a*cos) - float32(b*sin)
		x[i+1] = float32(a*sin) + float32(b*cos)
	}
}
