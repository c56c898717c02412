package kernel

// A Scratch is memory of one thread for what is unpacked for many columns. The zero
// value is empty and grows at its first use.
type Scratch struct {
	weights []byte    // of a part of a panel, unpacked
	out     []float32 // (columns, PanelRows), sums that are not complete yet
}

// manyColumns is from how many columns on a panel is unpacked first.
const manyColumns = 16

// room returns bytes for weights and n floats, zeros.
func (s *Scratch) room(bytes, n int) ([]byte, []float32) {
	if len(s.weights) < bytes {
		s.weights = make([]byte, bytes)
	}
	if len(s.out) < n {
		s.out = make([]float32, n)
	}
	clear(s.out[:n])
	return s.weights[:bytes], s.out[:n]
}
