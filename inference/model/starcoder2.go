package model

import "rbee/inference/device"

// starCoder2 has layer norms, biases everywhere and an MLP without a gate
// (Lozhkov et al. 2024).
func starCoder2(_ *keys, c *Config) {
	c.layerNorm = true
	c.split = true
	c.ungated = true
	c.act = device.Gelu
}
