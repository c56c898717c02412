package model

import (
	"rbee/inference/device"
)

// An mlp is the second half of a layer: Down · (act(Gate·x) · (Up·x)), or
// Down · act(Up·x) without a gate, or a mixture of experts, or a mixture and an
// expert that everyone goes through.
type mlp struct {
	norm    device.Norm
	in      []device.Projection // gate and up, or up alone; and the switch
	act     device.Activation
	ungated bool
	out     device.Sum

	router  []device.Projection
	experts *device.Experts
}

// mlp reads the MLP of the layer whose tensors begin with prefix.
func (l *loader) mlp(c *Config, s *state, prefix string) (m mlp) {
	m.act, m.ungated = c.act, c.ungated
	if c.experts.count == 0 {
		l.dense(&m, c, s, prefix, "", c.Hidden)
		return m
	}
	m.experts = l.experts(c, prefix)
	m.router = []device.Projection{{
		W:    l.weight(prefix+"ffn_gate_inp.weight", c.experts.count, c.Width),
		Bias: l.optional(prefix+"ffn_gate_inp.bias", c.experts.count), Dst: s.scores,
	}}
	if c.experts.shared > 0 {
		l.dense(&m, c, s, prefix, "_shexp", c.experts.shared)
	}
	if c.experts.switched {
		m.in = append(m.in, device.Projection{W: l.row(prefix+"ffn_gate_inp_shexp.weight", c.Width), Dst: s.sw})
		m.out.Switch = s.sw
	}
	return m
}

// row reads a vector as a matrix of one row.
func (l *loader) row(name string, cols int) device.Weight {
	t, ok := l.tensor(name, cols)
	if !ok {
		return nil
	}
	return l.make(name, t.Type, 1, cols, l.f.Data(t))
}

// dense reads an MLP of one expert.
func (l *loader) dense(m *mlp, c *Config, s *state, prefix, suffix string, hidden int) {
	name := func(part string) string { return prefix + part + suffix }
	bias := func(part string, n int) device.Buffer { return l.optional(name(part)+".bias", n) }
	up := device.Projection{Dst: s.up, Bias: bias("ffn_up", hidden)}
	switch {
	case c.ungated:
		up.Dst = s.gate
		up.W = l.weight(name("ffn_up")+".weight", hidden, c.Width)
		m.in = []device.Projection{up}
	case l.has(name("ffn_gate") + ".weight"):
		gate := device.Projection{W: l.weight(name("ffn_gate")+".weight", hidden, c.Width), Bias: bias("ffn_gate", hidden), Dst: s.gate}
		up.W = l.weight(name("ffn_up")+".weight", hidden, c.Width)
		m.in = []device.Projection{gate, up}
	default: // one matrix, the gate on top
		both := l.parts(name("ffn_up")+".weight", c.Width, hidden, hidden)
		up.W = both[1]
		m.in = []device.Projection{{W: both[0], Dst: s.gate}, up}
	}
	m.out = device.Sum{W: l.weight(name("ffn_down")+".weight", c.Width, hidden), Bias: bias("ffn_down", c.Width), Scale: c.addScale}
	if c.postNorm {
		m.out.Post = l.norm(c, prefix+"post_ffw_norm", c.Width)
	}
}

// experts reads a mixture.
func (l *loader) experts(c *Config, prefix string) *device.Experts {
	n, hidden := c.experts.count, c.experts.hidden
	return &device.Experts{
		Gate:     l.stack(prefix+"ffn_gate_exps.weight", n, hidden, c.Width),
		Up:       l.stack(prefix+"ffn_up_exps.weight", n, hidden, c.Width),
		Down:     l.stack(prefix+"ffn_down_exps.weight", n, c.Width, hidden),
		GateBias: l.optional(prefix+"ffn_gate_exps.bias", n, hidden),
		UpBias:   l.optional(prefix+"ffn_up_exps.bias", n, hidden),
		DownBias: l.optional(prefix+"ffn_down_exps.bias", n, c.Width),
		Used:     c.experts.used, OfChosen: c.experts.ofChosen, Normalize: c.experts.normalize,
		Act: c.act, Scale: c.addScale,
	}
}

// run adds the MLP of the columns to the residual stream.
func (m *mlp) run(dev device.Device, s *state, n int) {
	m.begin(dev, s, n, m.norm)
	m.finish(dev, s, n)
}

// begin computes what goes in, of the residual stream as it is.
func (m *mlp) begin(dev device.Device, s *state, n int, norm device.Norm) {
	if m.in != nil {
		dev.Project(s.x, n, norm, m.in...)
	}
}

// finish adds what comes out.
func (m *mlp) finish(dev device.Device, s *state, n int) {
	if m.experts != nil {
		dev.Project(s.x, n, m.norm, m.router...)
		dev.AddExperts(s.x, n, m.norm, s.scores, m.experts)
	}
	switch {
	case m.in == nil:
	case m.ungated:
		dev.AddGated(s.x, n, s.gate, nil, m.act, m.out)
	default:
		dev.AddGated(s.x, n, s.gate, s.up, m.act, m.out)
	}
}
