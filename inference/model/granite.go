package model

// granite is llama with a scale at every joint (IBM 2024); granitemoe has a
// mixture of experts, with or without a shared one.
func granite(k *keys, c *Config) {
	c.embedScale = float32(k.number("embedding_scale", 1))
	c.addScale = float32(k.number("residual_scale", 1))
	c.scale = float32(k.number("attention.scale", float64(c.scale)))
	c.logitScale = float32(1 / k.number("logit_scale", 1))
	c.experts = k.mixture(c.Architecture == "granitemoe")
	c.experts.normalize = true
	if n, _ := k.f.Uint(k.prefix + "expert_shared_feed_forward_length"); n > 0 && c.experts.count > 0 {
		c.experts.shared = k.size("expert_shared_feed_forward_length", maxWidth, 0)
	}
}
