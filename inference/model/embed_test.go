package model_test

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"rbee/inference/model"
)

// Vectors agree with transformers' and llama.cpp's, all brought to length 1.
func TestEmbedGolden(t *testing.T) {
	for name, tt := range map[string]struct {
		file      string
		tolerance float64
	}{
		"bert": {"bert", 2e-4}, "llama": {"llama.embeddings", 2e-4}, "qwen3": {"qwen3.embeddings", 2e-4}, "nomic-bert": {"nomic-bert.embeddings", 2e-4},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := os.ReadFile("testdata/" + tt.file + ".json")
			if err != nil {
				t.Fatal(err)
			}
			var g struct {
				Texts []map[string]json.RawMessage `json:"texts"`
			}
			if err := json.Unmarshal(b, &g); err != nil || len(g.Texts) == 0 {
				t.Fatalf("%d texts: %v", len(g.Texts), err)
			}
			m := load(t, name, 2, model.Options{})
			compared := 0
			for i, text := range g.Texts {
				var tokens []int32
				if err := json.Unmarshal(text["tokens"], &tokens); err != nil {
					t.Fatal(err)
				}
				for _, pooling := range []model.Pooling{model.PoolMean, model.PoolCLS, model.PoolLast} {
					if text[string(pooling)] == nil {
						continue
					}
					var want []float32
					if err := json.Unmarshal(text[string(pooling)], &want); err != nil {
						t.Fatal(err)
					}
					got, err := m.Embed(t.Context(), tokens, pooling)
					if err != nil {
						t.Fatal(err)
					}
					if d := apart(got, want); !(d <= tt.tolerance) {
						t.Errorf("text %d, %s: %v apart", i, pooling, d)
					}
					compared++
				}
			}
			if compared < len(g.Texts) {
				t.Errorf("only %d vectors for %d texts", compared, len(g.Texts))
			}
		})
	}
}

// apart is the largest difference of two vectors brought to length 1.
func apart(a, b []float32) (most float64) {
	if len(a) != len(b) {
		return math.Inf(1)
	}
	length := func(x []float32) float64 {
		var sum float64
		for _, v := range x {
			sum += float64(v) * float64(v)
		}
		return math.Sqrt(sum)
	}
	la, lb := length(a), length(b)
	for i := range a {
		most = max(most, math.Abs(float64(a[i])/la-float64(b[i])/lb))
	}
	return most
}
