package roles

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// A modelFile is a GGUF file in the making: its metadata, then its tensors, all
// of them zeros, which take no room on the disk.
type modelFile struct {
	pairs, infos     bytes.Buffer
	npairs, ntensors uint64
	data             uint64 // bytes of the tensors so far
}

// The numbers that GGUF gives to its value types and block types.
const (
	ggufUint32, ggufString, ggufArray = uint32(4), uint32(8), uint32(9)
	typeF32, typeQ4K                  = uint32(0), uint32(12)
)

func put(b *bytes.Buffer, values ...any) {
	for _, v := range values {
		if s, ok := v.(string); ok {
			put(b, uint64(len(s)))
			b.WriteString(s)
			continue
		}
		_ = binary.Write(b, binary.LittleEndian, v) // a buffer takes all
	}
}

func (m *modelFile) text(key, v string) { m.npairs++; put(&m.pairs, key, ggufString, v) }

func (m *modelFile) num(key string, v uint32) { m.npairs++; put(&m.pairs, key, ggufUint32, v) }

func (m *modelFile) texts(key string, list []string) {
	m.npairs++
	put(&m.pairs, key, ggufArray, ggufString, uint64(len(list)))
	for _, s := range list {
		put(&m.pairs, s)
	}
}

// vector adds n numbers in F32, matrix rows times cols in Q4_K: 144 bytes for 256.
func (m *modelFile) vector(name string, n uint64) { m.tensor(name, typeF32, 4*n, n) }

func (m *modelFile) matrix(name string, rows, cols uint64) {
	m.tensor(name, typeQ4K, rows*cols/256*144, cols, rows)
}

func (m *modelFile) tensor(name string, typ uint32, size uint64, dims ...uint64) {
	m.ntensors++
	put(&m.infos, name, uint32(len(dims)), dims, typ, m.data)
	m.data += (size + 31) / 32 * 32
}

func (m *modelFile) write(t testing.TB) string {
	t.Helper()
	var b bytes.Buffer
	b.WriteString("GGUF")
	put(&b, uint32(3), m.ntensors, m.npairs, m.pairs.Bytes(), m.infos.Bytes())
	name := filepath.Join(t.TempDir(), "big.gguf")
	if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, int64((uint64(b.Len())+31)/32*32+m.data)); err != nil {
		t.Fatal(err)
	}
	return name
}

// bigModel writes a model whose prompt takes a while: a token costs some
// milliseconds a layer. At temperature 0 it always says "a".
func bigModel(t testing.TB, layers int) string {
	t.Helper()
	const width, hidden = 1024, 4096
	vocab := []string{"Ġ"} // a space
	for c := 'z'; c >= 'a'; c-- {
		vocab = append([]string{string(c)}, vocab...)
	}
	var m modelFile
	m.text("general.architecture", "llama")
	m.num("llama.block_count", uint32(layers))
	m.num("llama.context_length", 2048)
	m.num("llama.embedding_length", width)
	m.num("llama.feed_forward_length", hidden)
	m.num("llama.attention.head_count", 8)
	m.text("tokenizer.ggml.model", "gpt2")
	m.text("tokenizer.ggml.pre", "gpt-2")
	m.texts("tokenizer.ggml.tokens", vocab)
	m.texts("tokenizer.ggml.merges", nil)
	m.matrix("token_embd.weight", uint64(len(vocab)), width)
	m.vector("output_norm.weight", width)
	for i := range layers {
		layer := fmt.Sprintf("blk.%d.", i)
		m.vector(layer+"attn_norm.weight", width)
		m.vector(layer+"ffn_norm.weight", width)
		for _, square := range []string{"attn_q", "attn_k", "attn_v", "attn_output"} {
			m.matrix(layer+square+".weight", width, width)
		}
		m.matrix(layer+"ffn_gate.weight", hidden, width)
		m.matrix(layer+"ffn_up.weight", hidden, width)
		m.matrix(layer+"ffn_down.weight", width, hidden)
	}
	return m.write(t)
}
