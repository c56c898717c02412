package tokenizer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"rbee/inference/gguf"
)

// A header writes the metadata of a model file, in the order of keys.
type header map[string]any

func (h header) bytes() []byte {
	b := append([]byte("GGUF"), 3, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(h)))
	keys := make([]string, 0, len(h))
	for key := range h {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		name := prefix + key
		if strings.Contains(key, ".") && !strings.HasPrefix(key, "normalizer") {
			name = key
		}
		b = appendText(b, name)
		b = appendValue(b, h[key])
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint64(b, uint64(len(s))), s...)
}

func appendValue(b []byte, v any) []byte {
	typ := func(n ...uint32) {
		for _, n := range n {
			b = binary.LittleEndian.AppendUint32(b, n)
		}
	}
	count := func(n int) { b = binary.LittleEndian.AppendUint64(b, uint64(n)) }
	switch v := v.(type) {
	case string:
		typ(8)
		b = appendText(b, v)
	case uint32:
		typ(4, v)
	case int32:
		typ(5, uint32(v))
	case bool:
		typ(7)
		b = append(b, map[bool]byte{true: 1}[v])
	case []string:
		typ(9, 8)
		count(len(v))
		for _, s := range v {
			b = appendText(b, s)
		}
	case []float32:
		typ(9, 6)
		count(len(v))
		for _, f := range v {
			typ(math.Float32bits(f))
		}
	case []int32:
		typ(9, 5)
		count(len(v))
		for _, n := range v {
			typ(uint32(n))
		}
	case []byte:
		typ(9, 0)
		count(len(v))
		b = append(b, v...)
	default:
		panic(fmt.Sprintf("no GGUF type for %T", v))
	}
	return b
}

// smallMap is a map of characters that makes 'A' an 'a'.
func smallMap() []byte {
	nodes := make([]byte, 4*256)
	put := func(i int, n uint32) { binary.LittleEndian.PutUint32(nodes[4*i:], n) }
	put(0, 128<<10)              // the root's children begin at 128
	put(128^'A', 1<<8|1<<10|'A') // a leaf, its text's number one away
	put(128^'A'^1, 1<<31)
	return slices.Concat(binary.LittleEndian.AppendUint32(nil, uint32(len(nodes))), nodes, []byte("a\x00"))
}

// small are headers of every model with a handful of tokens.
func small(model string) header {
	tokens := []string{"<unk>", "<s>", "</s>", "a", "b", "ab", "▁", "▁a", "Ġ", "<0x0A>", "<|x|>", "\n", "##b", "\u0120a"}
	h := header{
		"model": model, "tokens": tokens, "token_type": []int32{2, 3, 3, 1, 1, 1, 1, 1, 1, 6, 4, 1, 1, 1},
		"bos_token_id": uint32(1), "eos_token_id": uint32(2), "unknown_token_id": uint32(0), "general.name": "phi3", "general.architecture": "llama",
	}
	switch model {
	case "gpt2":
		h["pre"], h["merges"] = "qwen2", []string{"a b", "Ġ a"}
	case "gemma4", "whitespace":
		h["pre"], h["merges"] = "whitespace", []string{"a b", "▁ a"}
	case "bert":
		h[separator+"_token_id"] = uint32(2)
	case "t5":
		h["precompiled_charsmap"] = smallMap()
	}
	if model == "llama" || model == "t5" {
		h["scores"] = []float32{0, 0, 0, -1, -2, -3, -4, -5, -6, -7, -8, -9, -10, -11}
	}
	return h
}

var models = []string{"llama", "gpt2", "gemma4", "whitespace", "bert", "t5"}

func parse(t testing.TB, h header) (*Tokenizer, error) {
	t.Helper()
	f, err := gguf.Parse(h.bytes())
	if err != nil {
		t.Fatal(err)
	}
	return FromGGUF(f)
}

// What is wrong with a file is said with the key.
func TestRefusedFile(t *testing.T) {
	for _, model := range models {
		if _, err := parse(t, small(model)); err != nil {
			t.Errorf("%s: %v", model, err)
		}
	}
	tests := map[string]struct {
		model string
		key   string
		value any // nil: the key is missing
		says  string
	}{
		"no model":           {"llama", "model", nil, "tokenizer.ggml.model is missing"},
		"unknown model":      {"llama", "model", "rwkv", `tokenizer.ggml.model: "rwkv"`},
		"unknown pre":        {"gpt2", "pre", "martian", `tokenizer.ggml.pre: pre-tokenizer "martian"`},
		"no tokens":          {"llama", "tokens", nil, "tokenizer.ggml.tokens is missing"},
		"empty vocabulary":   {"bert", "tokens", []string{}, "tokenizer.ggml.tokens"},
		"tokens, no texts":   {"llama", "tokens", []int32{1}, "tokenizer.ggml.tokens"},
		"types too few":      {"llama", "token_type", []int32{1}, "tokenizer.ggml.token_type: 1 types for 14 tokens"},
		"types, no numbers":  {"gpt2", "token_type", []float32{1}, "tokenizer.ggml.token_type"},
		"no scores":          {"llama", "scores", nil, "tokenizer.ggml.scores: 0 scores for 14 tokens"},
		"unigram, no scores": {"t5", "scores", nil, "tokenizer.ggml.scores: 0 scores"},
		"scores, no numbers": {"llama", "scores", []string{"1"}, "tokenizer.ggml.scores"},
		"bos":                {"llama", "bos_token_id", uint32(14), "tokenizer.ggml.bos_token_id: token 14"},
		"eot":                {"gpt2", "eot_token_id", uint32(99), "tokenizer.ggml.eot_token_id: token 99"},
		"unknown":            {"bert", "unknown_token_id", uint32(1 << 31), "tokenizer.ggml.unknown_token_id: token 2147483648"},
		"eos, no number":     {"llama", "eos_token_id", "2", "tokenizer.ggml.eos_token_id is no number"},
		"fim":                {"gpt2", "fim_pad_token_id", uint32(14), "tokenizer.ggml.fim_pad_token_id"},
		"no merges":          {"gpt2", "merges", nil, "tokenizer.ggml.merges is missing"},
		"merge":              {"gpt2", "merges", []string{"a b", "ab"}, `tokenizer.ggml.merges: merge 1 is "ab"`},
		"merge of nothing":   {"gpt2", "merges", []string{"a "}, "tokenizer.ggml.merges: merge 0"},
		"merges, no texts":   {"gpt2", "merges", []int32{1}, "tokenizer.ggml.merges"},
		"add_bos":            {"llama", "add_bos_token", "yes", "tokenizer.ggml.add_bos_token"},
		"charsmap short":     {"t5", "precompiled_charsmap", []byte{1, 2}, "tokenizer.ggml.precompiled_charsmap"},
		"charsmap cut":       {"t5", "precompiled_charsmap", smallMap()[:900], "tokenizer.ggml.precompiled_charsmap"},
		"charsmap open":      {"t5", "precompiled_charsmap", smallMap()[:4+1024+1], "tokenizer.ggml.precompiled_charsmap"},
		"charsmap long":      {"t5", "precompiled_charsmap", slices.Concat(smallMap(), make([]byte, 0), bytes.Repeat([]byte("a"), 2000), []byte{0}), "becomes 2000 bytes"},
		"charsmap, no bytes": {"t5", "precompiled_charsmap", []int32{1}, "tokenizer.ggml.precompiled_charsmap"},
		"no separator":       {"bert", separator + "_token_id", nil, separator + "_token_id is missing"},
	}
	for name, tt := range tests {
		h := small(tt.model)
		if h[tt.key] = tt.value; tt.value == nil {
			delete(h, tt.key)
		}
		_, err := parse(t, h)
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %v, want it to say %q", name, err, tt.says)
		}
		if strings.HasPrefix(name, "unknown ") && !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v is no ErrUnsupported", name, err)
		}
	}
}

// A number of -1 says that there is no such token.
func TestNoToken(t *testing.T) {
	h := small("llama")
	h["bos_token_id"], h["eos_token_id"] = uint32(math.MaxUint32), int32(-1)
	tok, err := parse(t, h)
	if err != nil {
		t.Fatal(err)
	}
	if tok.AddsBOS() || tok.BOS() != "" || tok.EOS() != "" {
		t.Errorf("got BOS %q, EOS %q, want none", tok.BOS(), tok.EOS())
	}
}

func TestCharmap(t *testing.T) {
	tok, err := parse(t, small("t5"))
	if err != nil {
		t.Fatal(err)
	}
	if got := tok.Encode("AaB", EncodeOptions{}); !slices.Equal(got, []int32{3, 3, 0}) {
		t.Errorf("got %v, want A to be an a and B unknown", got)
	}
}

// Whatever a file says, there is an error or a tokenizer that ends.
func FuzzFile(f *testing.F) {
	for _, model := range models {
		b := small(model).bytes()
		f.Add(b, "ab A\nab <|x|> \xff ä▁")
		for i := 100; i < len(b); i += 97 {
			f.Add(slices.Concat(b[:i], []byte{0xff}, b[i+1:]), "a<s>b")
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		file, err := gguf.Parse(data)
		if err != nil {
			return
		}
		tok, err := FromGGUF(file)
		if err != nil {
			return
		}
		for _, o := range []EncodeOptions{{}, {AddSpecial: true, ParseSpecial: true}} {
			ids := tok.Encode(text, o)
			for _, id := range ids {
				if id < 0 || int(id) >= tok.Vocab() {
					t.Fatalf("%q has the token %d of %d", text, id, tok.Vocab())
				}
			}
			tok.Decode(ids, true)
		}
		for id := range min(tok.Vocab(), 100) {
			tok.Piece(int32(id), true)
			tok.IsEOG(int32(id))
		}
		tok.BOS()
	})
}
