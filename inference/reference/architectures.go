package reference

import "math"

// An architecture is four lists of operations on the current register, (n, width).
type architecture struct {
	pre   []op // on the gathered embedding
	layer func(h *facts) []op
	post  []op // after the last layer

	encoder bool                        // non-causal, and without logits
	tune    func(h *facts, m *metadata) // what the metadata says to this one alone
}

// architectures are all that Open takes, by general.architecture.
var architectures = map[string]architecture{
	"llama":      {layer: llama(neighbours), post: finalRMS},
	"qwen2":      {layer: llama(halves), post: finalRMS},
	"qwen2moe":   {layer: qwen2MoE, post: finalRMS},
	"qwen3":      {layer: qwen3, post: finalRMS},
	"qwen3moe":   {layer: qwen3, post: finalRMS},
	"phi3":       {layer: llama(halves), post: finalRMS},
	"gemma":      {layer: gemma, post: finalRMS, tune: scaleByWidth},
	"gemma2":     {layer: gemmaPostNorms(noHeadNorm), post: finalRMS, tune: tuneGemma2},
	"gemma3":     {layer: gemmaPostNorms(rmsPerHead), post: finalRMS, tune: tuneGemma3},
	"granite":    {layer: granite, post: finalRMS, tune: tuneGranite},
	"granitemoe": {layer: granite, post: finalRMS, tune: tuneGranite},
	"olmo2":      {layer: olmo2, post: finalRMS, tune: tuneOlmo2},
	"olmoe":      {layer: olmoe, post: finalRMS},
	"smollm3":    {layer: smolLM3, post: finalRMS},
	"gpt-oss":    {layer: gptOSS, post: finalRMS, tune: tuneGPTOSS},
	"stablelm":   {layer: stableLM, post: finalLayerNorm, tune: tuneStableLM},
	"starcoder2": {layer: starCoder2, post: finalLayerNorm},
	"bert":       {pre: bertEmbedding, layer: bert, encoder: true},
	"nomic-bert": {pre: nomicEmbedding, layer: nomicBERT, encoder: true},
}

var (
	finalRMS       = []op{rmsNorm{"output_norm"}}
	finalLayerNorm = []op{layerNorm{"output_norm"}}
	bertEmbedding  = []op{firstType{}, positions{}, layerNorm{"token_embd_norm"}}
	nomicEmbedding = []op{firstType{}, layerNorm{"token_embd_norm"}}
)

// preNorm is the common layer: x + attention(norm(x)), then x + mlp(norm(x)).
func preNorm(a attention, mlp ...op) []op {
	return append(append([]op{
		keep{"in"},
		rmsNorm{"attn_norm"},
		a,
		add{"in"},
		keep{"mid"},
		rmsNorm{"ffn_norm"},
	}, mlp...), add{"mid"})
}

func llama(p pairing) func(h *facts) []op {
	return func(h *facts) []op {
		if h.experts > 0 {
			return preNorm(attention{pairing: p}, mixture{act: swiglu})
		}
		return preNorm(attention{pairing: p}, gatedMLP{act: swiglu})
	}
}

func qwen2MoE(*facts) []op {
	return preNorm(attention{pairing: halves},
		keep{"normed"}, mixture{act: swiglu, overAll: true}, keep{"chosen"},
		recall{"normed"}, gatedMLP{act: swiglu, suffix: "_shexp", weigh: "ffn_gate_inp_shexp"}, add{"chosen"})
}

func qwen3(h *facts) []op {
	a := attention{pairing: halves, norm: rmsPerHead}
	if h.experts > 0 {
		return preNorm(a, mixture{act: swiglu})
	}
	return preNorm(a, gatedMLP{act: swiglu})
}

func gemma(*facts) []op { return preNorm(attention{pairing: halves}, gatedMLP{act: geglu}) }

// gemmaPostNorms norms what attention and MLP say once more before it is added.
func gemmaPostNorms(n headNorm) func(*facts) []op {
	return func(*facts) []op {
		return []op{
			keep{"in"},
			rmsNorm{"attn_norm"},
			attention{pairing: halves, norm: n},
			rmsNorm{"post_attention_norm"},
			add{"in"},
			keep{"mid"},
			rmsNorm{"ffn_norm"},
			gatedMLP{act: geglu},
			rmsNorm{"post_ffw_norm"},
			add{"mid"},
		}
	}
}

func scaleByWidth(h *facts, _ *metadata) { h.embeddingScale = float32(math.Sqrt(float64(h.width))) }

func tuneGemma2(h *facts, m *metadata) {
	scaleByWidth(h, m)
	h.windows(m, 4096, 2)
	h.attentionCap = float32(m.number("attn_logit_softcapping", 50))
	h.finalCap = float32(m.number("final_logit_softcapping", 30))
	h.swa.base = m.number("rope.freq_base_swa", h.rope.base)
	if h.layers == 46 { // the 27B divides by the width per head
		h.attentionScale = float32(1 / math.Sqrt(float64(h.width/h.heads[0])))
	}
}

func tuneGemma3(h *facts, m *metadata) {
	scaleByWidth(h, m)
	h.windows(m, 0, 6)
	h.finalCap = float32(m.number("final_logit_softcapping", 0))
	h.swa.base, h.swa.scale = m.number("rope.freq_base_swa", 10000), 1
	if h.layers == 62 { // as in gemma2
		h.attentionScale = float32(1 / math.Sqrt(float64(h.width/h.heads[0])))
	}
}

func granite(h *facts) []op {
	mlp := []op{gatedMLP{act: swiglu}}
	if h.experts > 0 {
		mlp = []op{mixture{act: swiglu}}
	}
	if h.shared {
		mlp = []op{keep{"normed"}, mlp[0], keep{"chosen"}, recall{"normed"}, gatedMLP{act: swiglu, suffix: "_shexp"}, add{"chosen"}}
	}
	less := scale{h.residualScale}
	ops := []op{keep{"in"}, rmsNorm{"attn_norm"}, attention{pairing: neighbours}, less, add{"in"}, keep{"mid"}, rmsNorm{"ffn_norm"}}
	return append(append(ops, mlp...), less, add{"mid"})
}

func tuneGranite(h *facts, m *metadata) {
	positive := func(key string, otherwise float32) float32 {
		if v := m.number(key, 0); v != 0 {
			return float32(v)
		}
		return otherwise
	}
	h.embeddingScale, h.residualScale = positive("embedding_scale", 1), positive("residual_scale", 1)
	h.attentionScale = positive("attention.scale", h.attentionScale)
	h.logitScale = 1 / positive("logit_scale", 1)
	h.shared = h.experts > 0 && m.optional("expert_shared_feed_forward_length", maxWidth) > 0
}

func olmo2(*facts) []op {
	return []op{
		keep{"in"},
		attention{pairing: halves, norm: rmsAllHeads},
		rmsNorm{"post_attention_norm"},
		add{"in"},
		keep{"mid"},
		gatedMLP{act: swiglu},
		rmsNorm{"post_ffw_norm"},
		add{"mid"},
	}
}

func tuneOlmo2(h *facts, m *metadata) {
	h.windows(m, 0, 4)
	h.swa.scale, h.swa.yarn, h.swa.size = 1, false, 1 // only whole layers are stretched
}

func olmoe(*facts) []op {
	return preNorm(attention{pairing: halves, norm: rmsAllHeads}, mixture{act: swiglu, overAll: true})
}

func smolLM3(*facts) []op {
	return preNorm(attention{pairing: neighbours, skip: 4}, gatedMLP{act: swiglu})
}

func gptOSS(*facts) []op {
	return []op{
		keep{"in"},
		rmsNorm{"attn_norm"},
		attention{pairing: halves, sinks: true},
		add{"in"},
		keep{"mid"},
		rmsNorm{"post_attention_norm"},
		mixture{act: swigluOAI},
		add{"mid"},
	}
}

func tuneGPTOSS(h *facts, m *metadata) {
	h.windows(m, 0, 2)
	h.swa.base = m.number("rope.freq_base_swa", h.rope.base)
}

func stableLM(h *facts) []op {
	input := op(layerNorm{"ffn_norm"})
	if h.parallel {
		input = recall{"normed"}
	}
	return []op{
		keep{"in"},
		layerNorm{"attn_norm"},
		keep{"normed"},
		attention{pairing: halves, norm: layerPerHead},
		add{"in"},
		keep{"mid"},
		input,
		gatedMLP{act: swiglu},
		add{"mid"},
	}
}

func tuneStableLM(h *facts, m *metadata) {
	_, normed := m.f.Tensor("blk.0.ffn_norm.weight")
	h.parallel = !normed
}

func starCoder2(*facts) []op {
	return []op{
		keep{"in"},
		layerNorm{"attn_norm"},
		attention{pairing: halves},
		add{"in"},
		keep{"mid"},
		layerNorm{"ffn_norm"},
		plainMLP{geluTanh},
		add{"mid"},
	}
}

// bert norms after each addition. Its gelu is that of the paper, by erf;
// llama.cpp takes the one by tanh, from a table in float16.
func bert(*facts) []op { return postNorm(unturned, plainMLP{geluErf}) }

func nomicBERT(*facts) []op { return postNorm(halves, gatedMLP{act: swiglu}) }

func postNorm(p pairing, mlp op) []op {
	return []op{
		keep{"in"},
		attention{pairing: p},
		add{"in"},
		layerNorm{"attn_output_norm"},
		keep{"mid"},
		mlp,
		add{"mid"},
		layerNorm{"layer_output_norm"},
	}
}
