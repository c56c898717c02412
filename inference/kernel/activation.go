package kernel

import "math"

// root2Pi is √(2/π).
const root2Pi = 0.7978845608028654

// sigmoid is 1/(1+e^−x).
func sigmoid(x float32) float32 { return 1 / (1 + exp32(-x)) }

// Sigmoid is 1/(1+e^−x).
func Sigmoid(x float32) float32 { return sigmoid(x) }

// gelu32 is x/2·(1+tanh(u)), u = √(2/π)·(x+0.044715·x³), which is x/(1+e^−2u)
// (Hendrycks and Gimpel 2016).
func gelu32(x float32) float32 {
	cube := float32(float32(x*x) * x)
	inner := x + float32(0.044715*cube)
	return x / (1 + exp32(float32(-2*root2Pi)*inner))
}

// geluErf is x/2·(1+erf(x/√2)).
func geluErf(x float32) float32 {
	return float32(0.5 * float64(x) * (1 + math.Erf(float64(x)*math.Sqrt2/2)))
}

// Silu sets dst = x/(1+exp(−x)). dst may be x.
func Silu(dst, x []float32) {
	for i := silu(dst, x); i < len(x); i++ {
		dst[i] = x[i] / (1 + exp32(-x[i]))
	}
}

// Gelu sets dst = gelu(x), by tanh. dst may be x.
func Gelu(dst, x []float32) {
	for i := gelu(dst, x); i < len(x); i++ {
		dst[i] = gelu32(x[i])
	}
}

// GeluMul sets dst = gelu(x)·y, by tanh. dst may be x or y.
func GeluMul(dst, x, y []float32) {
	for i := geluMul(dst, x, y); i < len(x); i++ {
		dst[i] = float32(gelu32(x[i])) * y[i]
	}
}

// GeluErf sets dst = gelu(x), by the error function.
func GeluErf(dst, x []float32) {
	for i, v := range x {
		dst[i] = geluErf(v)
	}
}

// GeluErfMul sets dst = gelu(x)·y, by the error function.
func GeluErfMul(dst, x, y []float32) {
	for i, v := range x {
		dst[i] = geluErf(v) * y[i]
	}
}

// ClampedSwigluMul is the gate of gpt-oss: with x at most 7 and y within ±7, it
// sets dst = x/(1+exp(−1.702·x)) · (y+1).
func ClampedSwigluMul(dst, x, y []float32) {
	const alpha, limit = 1.702, 7
	for i, v := range x {
		v = min(v, limit)
		up := max(min(y[i], limit), -limit)
		dst[i] = float32(v/(1+exp32(float32(-alpha*v)))) * (up + 1)
	}
}

// Squash sets x = limit·tanh(x·scale/limit), or x·scale when limit is 0.
func Squash(x []float32, scale, limit float32) {
	if limit == 0 {
		for i, v := range x {
			x[i] = float32(v * scale)
		}
		return
	}
	for i := capped(x, scale, limit); i < len(x); i++ {
		x[i] = float32(limit * tanh(float32(x[i]*scale)/limit))
	}
}

// tanh is 1 − 2/(e^2|x|+1), with the sign of x.
func tanh(x float32) float32 {
	const sign = 1 << 31
	bits := math.Float32bits(x)
	t := 1 - 2/(exp32(2*math.Float32frombits(bits&^sign))+1)
	return math.Float32frombits(math.Float32bits(t) ^ bits&sign)
}

// Exp is e^x as everywhere in this package.
func Exp(x float32) float32 { return exp32(x) }

// LayerNorm sets dst = (x−mean) / √(variance + eps) · w + bias. bias may be nil.
func LayerNorm(dst, x, w, bias []float32, eps float32) {
	var sums [16]float32
	for i, v := range x {
		sums[i%16] += v
	}
	mean := float32(float64(fold(&sums)) / float64(len(x)))
	sums = [16]float32{}
	for i, v := range x {
		c := v - mean
		sums[i%16] += float32(c * c)
	}
	scale := float32(1 / math.Sqrt(float64(fold(&sums))/float64(len(x))+float64(eps)))
	for i, v := range x {
		dst[i] = float32(float32((v-mean)*scale) * w[i])
		if bias != nil {
			dst[i] += bias[i]
		}
	}
}

// RopeSplit turns the pairs (i, i+n) of x, n half as long as turn, as RopePairs
// does neighbours.
func RopeSplit(x, turn []float32) {
	half := len(turn) / 2
	for i := ropeSplit(x[:half], x[half:], turn); i < half; i++ {
		a, b, cos, sin := x[i], x[half+i], turn[2*i], turn[2*i+1]
		x[i] = float32(a*cos) - float32(b*sin)
		x[half+i] = float32(a*sin) + float32(b*cos)
	}
}

// AddScaled sets x = x + s·y, the product rounded by itself.
func AddScaled(x, y []float32, s float32) {
	for i, v := range y {
		x[i] += float32(s * v)
	}
}
