package sample

import "math"

// negligible is e^−x below which a token cannot be chosen in practice: it is not
// even listed.
const negligible = 40

func (s *Sampler) isTypical() bool { return s.p.Typical > 0 && s.p.Typical < 1 }
func (s *Sampler) isTopP() bool    { return s.p.TopP > 0 && s.p.TopP < 1 }

// collect lists the tokens that may be chosen: the best TopK, or all that are not
// negligible. Their scores are logits below the best.
func (s *Sampler) collect(logits []float32, top float32) {
	s.rest, s.kept = s.rest[:0], s.kept[:0]
	floor := -float32(negligible * max(1, s.p.Temperature))
	if s.p.MinP > 0 && !s.isTopP() && !s.isTypical() { // nothing before it looks at what it leaves out
		floor = max(floor, logOf(s.p.MinP))
	}
	k := s.p.TopK
	if k <= 0 || k >= len(logits) {
		for i, v := range logits {
			if x := v - top; x >= floor {
				s.rest = append(s.rest, candidate{id: int32(i), x: x})
			}
		}
		return
	}
	// The worst of the best k so far lies at the root of a heap the other way round.
	for i, v := range logits {
		switch x := v - top; {
		case !(x >= floor):
		case len(s.rest) < k:
			if s.rest = append(s.rest, candidate{id: int32(i), x: -x}); len(s.rest) == k {
				s.rest.build()
			}
		case -x < s.rest[0].x:
			s.rest[0] = candidate{id: int32(i), x: -x}
			s.rest.down(0)
		}
	}
	for i := range s.rest {
		s.rest[i].x = -s.rest[i].x
	}
}

func logOf(p float64) float32 { return float32(math.Log(min(p, 1))) }

// weigh sets each candidate's weight to e^(x/temperature) and returns their sum.
func weigh(list []candidate, temperature float64) (sum float64) {
	for i := range list {
		list[i].w = math.Exp(float64(list[i].x) / temperature)
		sum += list[i].w
	}
	return sum
}

// typical keeps the tokens whose information −ln p is nearest to the entropy, until
// they make up Typical together.
func (s *Sampler) typical() {
	if !s.isTypical() {
		return
	}
	sum := weigh(s.rest, 1)
	logSum, entropy := math.Log(sum), 0.0
	for _, c := range s.rest {
		entropy += c.w / sum * (logSum - float64(c.x))
	}
	for i := range s.rest { // ordered by nearness for now, the logit in w's place
		c := &s.rest[i]
		c.w, c.x = float64(c.x), -float32(math.Abs(logSum-float64(c.x)-entropy))
	}
	s.rest.build()
	s.kept = s.kept[:0]
	for kept := 0.0; len(s.rest) > 0 && kept <= s.p.Typical*sum; {
		c := s.rest.pop()
		c.x = float32(c.w)
		kept += math.Exp(c.w)
		s.kept = append(s.kept, c)
	}
	s.rest, s.kept = append(s.rest[:0], s.kept...), s.kept[:0]
}

// topP takes the likeliest tokens until they make up TopP together.
func (s *Sampler) topP() {
	if !s.isTopP() {
		return
	}
	sum := weigh(s.rest, 1)
	// Whatever is below the floor makes up less than what is to be left out, all
	// together: none of it need be put in order.
	s.above(logOf((1 - s.p.TopP) * sum / float64(len(s.rest)) / 2))
	s.rest.build()
	for kept := 0.0; len(s.rest) > 0 && kept < s.p.TopP*sum; {
		c := s.rest.pop()
		kept += c.w
		s.kept = append(s.kept, c)
	}
	s.rest, s.kept = append(s.rest[:0], s.kept...), s.kept[:0]
}

// minP leaves out what is less than MinP times as likely as the best of what is left.
func (s *Sampler) minP() {
	if s.p.MinP <= 0 {
		return
	}
	top := s.rest[0].x
	for _, c := range s.rest {
		top = max(top, c.x)
	}
	s.above(top + logOf(s.p.MinP))
}

// above leaves out what is below the floor.
func (s *Sampler) above(floor float32) {
	n := 0
	for _, c := range s.rest {
		if c.x >= floor {
			s.rest[n] = c
			n++
		}
	}
	s.rest = s.rest[:n]
}

// draw returns the candidate at u, from 0 to 1, of the summed weights.
func (s *Sampler) draw(u float64) int32 {
	u *= weigh(s.rest, s.p.Temperature)
	for _, c := range s.rest {
		if u -= c.w; u < 0 {
			return c.id
		}
	}
	return s.rest[0].id // rounding: u was as good as 1
}
