package roles

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// bigModel writes a model whose load and whose prompt take a while: a sparse file
// of zeros in Q4_K, with so many weights that a token takes some tens of
// milliseconds. It always says "a".
func bigModel(t *testing.T, layers int) string {
	t.Helper()
	const width, hidden, heads, vocab = 1024, 4096, 8, 512
	var b bytes.Buffer
	le := func(v any) { _ = binary.Write(&b, binary.LittleEndian, v) }
	str := func(s string) { le(uint64(len(s))); b.WriteString(s) }
	text := func(k, v string) { str(k); le(uint32(8)); str(v) }
	num := func(k string, n int) { str(k); le(uint32(4)); le(uint32(n)) }
	type tensor struct {
		name string
		typ  uint32
		dims []uint64
		size uint64
	}
	var tensors []tensor
	matrix := func(name string, rows, cols uint64) {
		tensors = append(tensors, tensor{name, 12, []uint64{cols, rows}, rows * cols / 256 * 144})
	}
	norm := func(name string) { tensors = append(tensors, tensor{name, 0, []uint64{width}, 4 * width}) }
	matrix("token_embd.weight", vocab, width)
	norm("output_norm.weight")
	for i := range layers {
		p := fmt.Sprintf("blk.%d.", i)
		norm(p + "attn_norm.weight")
		norm(p + "ffn_norm.weight")
		for _, m := range []string{"attn_q", "attn_k", "attn_v", "attn_output"} {
			matrix(p+m+".weight", width, width)
		}
		matrix(p+"ffn_gate.weight", hidden, width)
		matrix(p+"ffn_up.weight", hidden, width)
		matrix(p+"ffn_down.weight", width, hidden)
	}
	b.WriteString("GGUF")
	le(uint32(3))
	le(uint64(len(tensors)))
	le(uint64(9))
	text("general.architecture", "llama")
	num("llama.block_count", layers)
	num("llama.context_length", 2048)
	num("llama.embedding_length", width)
	num("llama.feed_forward_length", hidden)
	num("llama.attention.head_count", heads)
	text("tokenizer.ggml.model", "gpt2")
	text("tokenizer.ggml.pre", "gpt-2")
	str("tokenizer.ggml.tokens")
	le(uint32(9))
	le(uint32(8))
	le(uint64(vocab))
	for i := range vocab {
		switch {
		case i < 26:
			str(string(rune('a' + i)))
		case i == 26:
			str("Ġ") // a space
		default:
			str(fmt.Sprintf("<%d>", i))
		}
	}
	str("tokenizer.ggml.merges")
	le(uint32(9))
	le(uint32(8))
	le(uint64(0))
	var offset uint64
	for _, tt := range tensors {
		str(tt.name)
		le(uint32(len(tt.dims)))
		for _, d := range tt.dims {
			le(d)
		}
		le(tt.typ)
		le(offset)
		offset += (tt.size + 31) / 32 * 32
	}
	head := (b.Len() + 31) / 32 * 32
	name := filepath.Join(t.TempDir(), "big.gguf")
	if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, int64(head)+int64(offset)); err != nil {
		t.Fatal(err)
	}
	return name
}
