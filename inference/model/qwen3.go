package model

// qwen3 is qwen2 with a norm of each head's query and key instead of biases
// (Qwen team 2025). Its embedding models are the same, pooled at the last token.
func qwen3(k *keys, c *Config) {
	qwen2(k, c)
	c.queryNorm = perHead
}

// qwen3MoE has a mixture of experts whose weights are normalised.
func qwen3MoE(k *keys, c *Config) {
	qwen3(k, c)
	c.experts = k.mixture(true)
	c.experts.normalize = true
	if c.experts.hidden == 0 {
		c.experts.hidden = k.size("feed_forward_length", maxWidth, 0) / max(c.experts.used, 1)
	}
}
