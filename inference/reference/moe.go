package reference

import (
	"cmp"
	"math"
	"slices"
)

// mixture sends each token to a few of many gated MLPs and adds up what they
// say, weighted.
type mixture struct {
	act     activation
	overAll bool // softmax over all experts: the chosen weights add up to less than 1
}

// A share is a token's part of an expert's work.
type share struct {
	token  int
	weight float32
}

func (o mixture) build(s *stage) {
	h := &s.m.facts
	s.set("router", s.linear(s.get(current), "ffn_gate_inp", 0, h.experts))
	if s.compute(); s.err != nil {
		return
	}
	work := make([][]share, h.experts)
	for t := range s.n {
		scores := s.values["router"].data[t*h.experts:][:h.experts]
		for e, w := range o.choose(scores, h.chosen) {
			work[e] = append(work[e], share{t, w})
		}
	}
	x, sum := s.values[current].data, make([]float32, s.n*h.width)
	for e, shares := range work {
		if len(shares) > 0 {
			o.expert(s, e, shares, x, sum)
		}
	}
	delete(s.values, "router")
	s.put(sum, h.width)
}

// choose returns the weights of the experts with the best scores.
func (o mixture) choose(scores []float32, count int) map[int]float32 {
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(scores[b], scores[a]) })
	chosen, total := map[int]float32{}, 0.0
	for i, e := range order {
		w := math.Exp(float64(scores[e]) - float64(scores[order[0]]))
		if i < count {
			chosen[e] = float32(w)
		}
		if i < count || o.overAll {
			total += w
		}
	}
	for e, w := range chosen {
		chosen[e] = float32(float64(w) / total)
	}
	return chosen
}

// expert computes one expert for its tokens' rows of x and adds the results to
// sum, both (n, width).
func (o mixture) expert(s *stage, e int, shares []share, x, sum []float32) {
	width := s.m.facts.width
	var rows []float32
	for _, sh := range shares {
		rows = append(rows, x[sh.token*width:][:width]...)
	}
	part := newStage(s.m, s.layer, len(shares))
	part.put(rows, width)
	ff := s.m.height(s.name("ffn_up_exps.weight")) / s.m.facts.experts
	in := part.get(current)
	gate, up := part.linear(in, "ffn_gate_exps", e*ff, (e+1)*ff), part.linear(in, "ffn_up_exps", e*ff, (e+1)*ff)
	part.set(current, part.linear(part.gated(o.act, gate, up), "ffn_down_exps", e*width, (e+1)*width))
	if part.compute(); part.err != nil {
		s.fail(part.err)
		return
	}
	y := part.values[current].data
	for i, sh := range shares {
		for j := range width {
			sum[sh.token*width+j] += sh.weight * y[i*width+j]
		}
	}
}
