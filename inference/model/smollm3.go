package model

// smolLM3 is llama without a rotation in every fourth layer (Hugging Face 2025).
func smolLM3(_ *keys, c *Config) {
	c.bareEvery = 4
}
