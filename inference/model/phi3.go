package model

// phi3 is llama with split pairs, whose file has queries, keys and values in one
// matrix and gate and up in another (Abdin et al. 2024). Longer contexts have
// rotations slowed down pair by pair (longrope). The window that some files name
// is not applied, as in llama.cpp.
func phi3(_ *keys, c *Config) {
	c.split = true
}
