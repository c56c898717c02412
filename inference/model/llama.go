package model

// llama is the decoder of Llama 1 to 3, TinyLlama, Mistral, SmolLM2 and their kin
// (Touvron et al. 2023; grouped queries: Ainslie et al. 2023), and of Mixtral,
// whose MLP is a mixture of experts (Jiang et al. 2024):
//
//	x = embed(tokens)
//	per layer: x += O · attention(rope(Q·norm(x)), rope(K·norm(x)), V·norm(x))
//	           x += Down · (silu(Gate·norm(x)) · (Up·norm(x)))
//	logits = Head · norm(x)
func llama(k *keys, c *Config) {
	c.experts = k.mixture(false)
	c.experts.normalize = true
}
