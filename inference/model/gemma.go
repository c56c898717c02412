package model

import (
	"math"

	"rbee/inference/device"
)

// gemma is llama with gelu, split pairs and an embedding times √Width (Gemma team
// 2024). The 1 that its norms add to their weights is in the file already.
func gemma(_ *keys, c *Config) {
	c.split = true
	c.act = device.Gelu
	c.embedScale = float32(math.Sqrt(float64(c.Width)))
}

// gemma2 norms what each block gives, too, keeps scores and logits within caps,
// and sees only a window in every other layer (Gemma team 2024).
func gemma2(k *keys, c *Config) {
	gemma(k, c)
	c.postNorm = true
	c.scoreCap = float32(k.number("attn_logit_softcapping", 50))
	c.logitCap = float32(k.number("final_logit_softcapping", 30))
	k.window(c, 2, 4096)
	c.local.rope = c.rope
	c.local.rope.Base = k.number("rope.freq_base_swa", c.rope.Base)
	if c.Layers == 46 { // the 27B alone divides by the width of a head's share
		c.scale = float32(1 / math.Sqrt(float64(c.Width/c.Heads)))
	}
}

// gemma3 norms queries and keys instead of capping scores, and five of six layers
// see only a window, with a rotation of their own (Gemma team 2025).
func gemma3(k *keys, c *Config) {
	gemma(k, c)
	c.postNorm = true
	c.queryNorm = perHead
	c.logitCap = float32(k.number("final_logit_softcapping", 0))
	k.window(c, 6, 0)
	c.local.rope = Rope{Dims: c.rope.Dims, Base: k.number("rope.freq_base_swa", 10000), Scale: 1, Magnitude: 1}
	if c.Layers == 62 { // the 27B alone divides by the width of a head's share
		c.scale = float32(1 / math.Sqrt(float64(c.Width/c.Heads)))
	}
}
