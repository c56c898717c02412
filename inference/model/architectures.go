package model

import (
	"maps"
	"slices"
	"strings"
)

// An architecture reads what is particular about it.
type architecture struct {
	models      string // that people know by name
	particulars func(*keys, *Config)
}

// architectures are those that Load takes, by general.architecture.
var architectures = map[string]architecture{
	"bert":       {"BERT, MiniLM, BGE, E5 (embeddings)", bert},
	"gemma":      {"Gemma", gemma},
	"gemma2":     {"Gemma 2", gemma2},
	"gemma3":     {"Gemma 3 (text)", gemma3},
	"gpt-oss":    {"gpt-oss 20B, 120B", gptOSS},
	"granite":    {"Granite 3", granite},
	"granitemoe": {"Granite 3 MoE", granite},
	"llama":      {"Llama 1 to 3, Mistral, TinyLlama, SmolLM2, Mixtral", llama},
	"nomic-bert": {"nomic-embed-text (embeddings)", nomicBERT},
	"olmo2":      {"OLMo 2, Olmo 3", olmo2},
	"olmoe":      {"OLMoE", olmoe},
	"phi3":       {"Phi-3, Phi-3.5, Phi-4", phi3},
	"qwen2":      {"Qwen 2, Qwen 2.5", qwen2},
	"qwen2moe":   {"Qwen 1.5 MoE, Qwen 2 MoE", qwen2MoE},
	"qwen3":      {"Qwen 3, Qwen 3 Embedding", qwen3},
	"qwen3moe":   {"Qwen 3 MoE", qwen3MoE},
	"smollm3":    {"SmolLM3", smolLM3},
	"stablelm":   {"StableLM 2, StableLM 3B", stableLM},
	"starcoder2": {"StarCoder2", starCoder2},
}

// Architectures names the architectures that Load takes, in order.
func Architectures() []string { return slices.Sorted(maps.Keys(architectures)) }

// Models names models of an architecture that people know.
func Models(architecture string) string { return architectures[architecture].models }

// Supported is Architectures in one line.
func Supported() string { return strings.Join(Architectures(), " ") }
