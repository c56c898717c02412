package reference

import "fmt"

// Layers is the number of layers, Width the width of the residual stream.
func (m *Model) Layers() int { return m.facts.layers }

// Width is the width of the residual stream.
func (m *Model) Width() int { return m.facts.width }

// Encoder tells whether the model gives vectors and no logits.
func (m *Model) Encoder() bool { return m.arch.encoder }

// Embedding computes the residual stream (n, width) that enters the first layer.
func (m *Model) Embedding(tokens []int32) ([]float32, error) {
	x, err := m.embed(tokens)
	if err == nil {
		x, err = m.run(-1, len(tokens), x, m.arch.pre)
	}
	if err != nil {
		return nil, fmt.Errorf("reference: embedding: %w", err)
	}
	return x, nil
}

// Layer computes what layer i makes of x (n, width), whatever gave it, as the
// tokens at positions 0 to n−1.
func (m *Model) Layer(i int, x []float32) ([]float32, error) {
	x, err := m.run(i, len(x)/m.facts.width, x, m.arch.layer(&m.facts))
	if err != nil {
		return nil, fmt.Errorf("reference: layer %d: %w", i, err)
	}
	return x, nil
}

// Head computes the logits, n of vocab each, of what left the last layer.
func (m *Model) Head(x []float32) ([][]float32, error) {
	n := len(x) / m.facts.width
	hidden, err := m.run(-1, n, x, m.arch.post)
	if err != nil {
		return nil, fmt.Errorf("reference: final norm: %w", err)
	}
	all, err := m.logits(hidden, n)
	if err != nil {
		return nil, fmt.Errorf("reference: output: %w", err)
	}
	return all, nil
}
