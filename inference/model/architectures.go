package model

import (
	"maps"
	"slices"
	"strings"
)

// architectures read what is particular about each that Load takes, by
// general.architecture.
var architectures = map[string]func(*keys, *Config){
	"bert":       bert,
	"gemma":      gemma,
	"gemma2":     gemma2,
	"gemma3":     gemma3,
	"gpt-oss":    gptOSS,
	"granite":    granite,
	"granitemoe": granite,
	"llama":      llama,
	"nomic-bert": nomicBERT,
	"olmo2":      olmo2,
	"olmoe":      olmoe,
	"phi3":       phi3,
	"qwen2":      qwen2,
	"qwen2moe":   qwen2MoE,
	"qwen3":      qwen3,
	"qwen3moe":   qwen3MoE,
	"smollm3":    smolLM3,
	"stablelm":   stableLM,
	"starcoder2": starCoder2,
}

// Architectures names the architectures that Load takes, in order.
func Architectures() []string { return slices.Sorted(maps.Keys(architectures)) }

// Supported is Architectures in one line.
func Supported() string { return strings.Join(Architectures(), " ") }
