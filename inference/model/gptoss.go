package model

import "rbee/inference/device"

// gptOSS has biases everywhere, a sink in every head, a window in every other
// layer, and a mixture of experts with a clamped gate, weighted by the softmax of
// the chosen scores (OpenAI 2025).
func gptOSS(k *keys, c *Config) {
	c.split = true
	c.sinks = true
	c.mlpNorm = "post_attention_norm"
	c.act = device.ClampedSwiglu
	k.window(c, 2, 0)
	c.local.rope = c.rope
	c.local.rope.Base = k.number("rope.freq_base_swa", c.rope.Base)
	c.experts = k.mixture(true)
	c.experts.ofChosen = true
}
