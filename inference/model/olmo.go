package model

// olmo2 norms what each block gives, and queries and keys as whole vectors, but
// not what goes in (OLMo team 2025). Olmo 3 adds layers with a window.
func olmo2(k *keys, c *Config) {
	c.split = true
	c.normless = true
	c.postNorm = true
	c.queryNorm = acrossHeads
	k.window(c, 4, 0)
	c.local.rope = Rope{Dims: c.rope.Dims, Base: k.number("rope.freq_base_swa", c.rope.Base), Scale: 1, Magnitude: 1}
}

// olmoe is llama with norms of queries and keys as whole vectors, and a mixture of
// experts whose weights are not normalised (Muennighoff et al. 2024).
func olmoe(k *keys, c *Config) {
	c.split = true
	c.queryNorm = acrossHeads
	c.experts = k.mixture(true)
}
