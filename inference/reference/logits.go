package reference

// headRows is how many rows of the output matrix are decoded at a time: a large
// vocabulary in float32 would take more memory than all layers.
const headRows = 8192

// logits computes n rows of vocab from the normed residual stream (n, width).
func (m *Model) logits(hiddenState []float32, n int) ([][]float32, error) {
	tensor := "output"
	if m.height("output.weight") == 0 {
		tensor = "token_embd" // tied
	}
	h, all := &m.facts, make([][]float32, n)
	for i := range all {
		all[i] = make([]float32, 0, h.vocab)
	}
	for from := 0; from < h.vocab; from += headRows {
		to := min(from+headRows, h.vocab)
		s := newStage(m, -1, n)
		s.put(hiddenState, h.width)
		y := s.linear(s.get(current), tensor, from, to)
		s.set(current, s.capped(s.scaled(y, h.logitScale), h.finalCap))
		if s.compute(); s.err != nil {
			return nil, s.err
		}
		part := s.values[current].data
		for i := range all {
			all[i] = append(all[i], part[i*(to-from):][:to-from]...)
		}
	}
	return all, nil
}
