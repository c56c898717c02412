package model

import "rbee/inference/device"

// bert is an encoder: every token sees the whole text. It norms after each sum,
// and its positions are a table (Devlin et al. 2018).
func bert(_ *keys, c *Config) {
	c.encoder = true
	c.layerNorm = true
	c.ungated = true
	c.act = device.GeluErf
	c.learnedPlace = true
}

// nomicBERT is bert with a rotation instead of the table, and a gated MLP
// (Nussbaum et al. 2024).
func nomicBERT(k *keys, c *Config) {
	bert(k, c)
	c.ungated = false
	c.act = device.Silu
	c.learnedPlace = false
	c.split = true
	if n, _ := k.f.Uint(k.prefix + "moe_every_n_layers"); n > 0 {
		k.fail("moe_every_n_layers", "%d: mixtures of experts are %w for this architecture", n, ErrUnsupported)
	}
}
