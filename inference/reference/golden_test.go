package reference_test

import (
	"encoding/binary"
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rbee/inference/gguf"
	"rbee/inference/reference"
)

var goldens = flag.String("goldens", "../model/testdata", "where the golden models are")

// A golden is what other engines say of a small random model: transformers,
// mostly llama.cpp too. ../model/testdata/make.py makes the models that are here.
type golden struct {
	Context *int `json:"context"`
	Prompts []struct {
		Tokens   []int32 `json:"tokens"`
		NLogits  int     `json:"n_logits"`
		LlamaCpp *int    `json:"logits_llamacpp"`
		HF       *int    `json:"logits_hf"`
		Exact    *int    `json:"logits_exact"`
	} `json:"prompts"`
	Texts []struct {
		Text   string    `json:"text"`
		Tokens []int32   `json:"tokens"`
		Mean   []float32 `json:"mean"`
		CLS    []float32 `json:"cls"`
		Last   []float32 `json:"last"`
	} `json:"texts"`
}

func open(t testing.TB, path string) *reference.Model {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	m, err := reference.Open(f)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func readGolden(t testing.TB, path string) golden {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// files are those with numbers of one kind: path and name without the suffix.
func files(t testing.TB, suffix string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for dir := range strings.SplitSeq(*goldens, ",") {
		paths, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range paths {
			base := strings.TrimSuffix(p, suffix)
			all[base] = filepath.Base(base)
		}
	}
	if len(all) == 0 {
		t.Fatalf("no *%s in %s", suffix, *goldens)
	}
	return all
}

// tolerance is that of exact arithmetic, whatever the block type: the reference
// rounds no activations.
const tolerance = 5e-4

// The logits at the end of each prompt are those of transformers or of llama.cpp,
// or, of a quantised model, those of its weights expanded.
func TestLogits(t *testing.T) {
	for base, name := range files(t, ".logits.bin") {
		t.Run(name, func(t *testing.T) {
			g, m := readGolden(t, base+".json"), open(t, base+".gguf")
			m.Context = 256 // as llama.cpp had
			if g.Context != nil {
				m.Context = *g.Context
			}
			raw, err := os.ReadFile(base + ".logits.bin")
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range g.Prompts {
				trace, err := m.Run(p.Tokens)
				if err != nil {
					t.Fatal(err)
				}
				got := trace.Logits[len(p.Tokens)-1]
				nearest := reference.Difference{MaxAbs: math.Inf(1)}
				for _, at := range []*int{p.LlamaCpp, p.HF, p.Exact} {
					if at == nil {
						continue
					}
					if d := reference.Compare(floats(raw[*at:][:4*p.NLogits]), got); d.MaxAbs < nearest.MaxAbs {
						nearest = d
					}
				}
				t.Logf("%3d tokens: max error %.1e, cosine %.9f", len(p.Tokens), nearest.MaxAbs, nearest.Cosine)
				if !(nearest.MaxAbs <= tolerance) {
					t.Errorf("%d tokens: logits differ by %v, at most %v", len(p.Tokens), nearest.MaxAbs, tolerance)
				}
			}
		})
	}
}

func floats(b []byte) []float32 {
	x := make([]float32, len(b)/4)
	for i := range x {
		x[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return x
}

// Embeddings agree after both are divided by their length.
func TestEmbeddings(t *testing.T) {
	for base, name := range files(t, ".gguf") {
		file := base + ".embeddings.json"
		if name == "bert" {
			file = base + ".json"
		} else if _, err := os.Stat(file); err != nil {
			continue // a model without embeddings
		}
		t.Run(name, func(t *testing.T) {
			g, m := readGolden(t, file), open(t, base+".gguf")
			worst, seen := 0.0, 0
			for _, tx := range g.Texts {
				for pooling, want := range map[reference.Pooling][]float32{reference.Mean: tx.Mean, reference.CLS: tx.CLS, reference.Last: tx.Last} {
					if want == nil {
						continue
					}
					got, err := m.Embed(tx.Tokens, pooling)
					if err != nil {
						t.Fatal(err)
					}
					d := reference.Compare(unit(want), unit(got))
					worst, seen = max(worst, d.MaxAbs), seen+1
					if !(d.MaxAbs <= tolerance) {
						t.Errorf("%q, %s: differs by %v", tx.Text, pooling, d.MaxAbs)
					}
				}
			}
			t.Logf("%d vectors, max error %.1e", seen, worst)
			if seen == 0 {
				t.Error("nothing to compare")
			}
		})
	}
}

func unit(x []float32) []float32 {
	sum := 0.0
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	y := slices.Clone(x)
	for i := range y {
		y[i] = float32(float64(y[i]) / math.Sqrt(sum))
	}
	return y
}
