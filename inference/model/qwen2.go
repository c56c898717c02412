package model

// qwen2 is llama with biases on queries, keys and values, which every decoder
// here reads where the file has them, and split pairs (Qwen team 2024).
func qwen2(_ *keys, c *Config) {
	c.split = true
}

// qwen2MoE has a mixture of experts whose weights are not normalised, and one
// expert more that everyone goes through, by as much as a switch of its own says.
func qwen2MoE(k *keys, c *Config) {
	qwen2(k, c)
	c.experts = k.mixture(true)
	if c.experts.hidden == 0 {
		c.experts.hidden = k.size("feed_forward_length", maxWidth, 0) / max(c.experts.used, 1)
	}
	c.experts.shared = k.size("expert_shared_feed_forward_length", maxWidth, max(k.size("feed_forward_length", maxWidth, 1), 1))
	c.experts.switched = true
}
