package model

// stableLM is llama with layer norms, of which the part of a head that turns is
// split in pairs (Stability AI 2024). The 12B norms each head, and attention and
// MLP take the same input: it has no norm between them.
func stableLM(_ *keys, c *Config) {
	c.layerNorm = true
	c.split = true
	c.queryNorm = perHeadWeights
}
