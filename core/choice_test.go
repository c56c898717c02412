package core_test

import (
	"slices"
	"testing"

	"rbee/core"
)

func TestAmong(t *testing.T) {
	here := []core.ModelRef{"embedded", "file:/m.gguf", "hf:o/r:F16", "hf:o/r:Q8_0", "hf:o/r:Q6_K", "hf:o/r@v1:Q4_K_M", "hf:o/s:dir/m.gguf"}
	for ref, want := range map[core.ModelRef]core.ModelRef{
		"embedded": "embedded", "file:/m.gguf": "file:/m.gguf", "file:/n.gguf": "",
		"hf:o/r": "hf:o/r:Q8_0", "hf:o/r:Q6_K": "hf:o/r:Q6_K", "hf:o/r:Q4_K_M": "", "hf:o/r@v1": "hf:o/r@v1:Q4_K_M",
		"hf:o/s": "", "hf:o/s:dir/m.gguf": "hf:o/s:dir/m.gguf",
	} {
		got, ok := ref.Among(func(one core.ModelRef) bool { return slices.Contains(here, one) })
		if got != want || ok != (want != "") {
			t.Errorf("%s: got %q, %v; want %q", ref, got, ok, want)
		}
	}
}
