package reference

import "math"

// A Difference is how far two computations of the same array are apart.
type Difference struct {
	MaxAbs float64 // the largest difference; +Inf where one has no number and the other has
	Cosine float64 // of the angle between them: 1 is the same direction
}

// Compare compares what another engine got with the reference. Arrays of
// different lengths are a bug of the caller.
func Compare(ref, got []float32) Difference {
	if len(ref) != len(got) {
		panic("reference: arrays of different lengths")
	}
	var d Difference
	var dot, r2, g2 float64
	for i := range ref {
		r, g := float64(ref[i]), float64(got[i])
		dot, r2, g2 = dot+r*g, r2+r*r, g2+g*g
		gap := math.Abs(r - g)
		if math.IsNaN(gap) {
			gap = math.Inf(1)
		}
		d.MaxAbs = max(d.MaxAbs, gap)
	}
	switch {
	case r2 == 0 && g2 == 0:
		d.Cosine = 1
	case r2 > 0 && g2 > 0:
		d.Cosine = dot / math.Sqrt(r2*g2)
	}
	return d
}
