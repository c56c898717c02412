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
	return m.writeTo(t, filepath.Join(t.TempDir(), "big.gguf"))
}

func (m *modelFile) writeTo(t testing.TB, name string) string {
	t.Helper()
	var b bytes.Buffer
	b.WriteString("GGUF")
	put(&b, uint32(3), m.ntensors, m.npairs, m.pairs.Bytes(), m.infos.Bytes())
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
	var m modelFile
	m.head(layers)
	for i := range layers {
		m.layer(i)
	}
	return m.write(t)
}

// partedModel writes a model of two layers in two parts, and returns the first.
func partedModel(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	var parts [2]modelFile
	parts[0].head(2)
	parts[1].text("general.architecture", "llama")
	var first string
	for i := range parts {
		m := &parts[i]
		m.num("split.no", uint32(i))
		m.num("split.count", 2)
		m.num("split.tensors.count", 2+2*9)
		m.layer(i)
		name := m.writeTo(t, filepath.Join(dir, fmt.Sprintf("big-%05d-of-00002.gguf", i+1)))
		if first == "" {
			first = name
		}
	}
	return first
}

const bigWidth, bigHidden = 1024, 4096

// head is the metadata, and the tensors that are of no layer.
func (m *modelFile) head(layers int) {
	vocab := []string{"Ġ"} // a space
	for c := 'z'; c >= 'a'; c-- {
		vocab = append([]string{string(c)}, vocab...)
	}
	m.text("general.architecture", "llama")
	m.num("llama.block_count", uint32(layers))
	m.num("llama.context_length", 2048)
	m.num("llama.embedding_length", bigWidth)
	m.num("llama.feed_forward_length", bigHidden)
	m.num("llama.attention.head_count", 8)
	m.text("tokenizer.ggml.model", "gpt2")
	m.text("tokenizer.ggml.pre", "gpt-2")
	m.texts("tokenizer.ggml.tokens", vocab)
	m.texts("tokenizer.ggml.merges", nil)
	m.matrix("token_embd.weight", uint64(len(vocab)), bigWidth)
	m.vector("output_norm.weight", bigWidth)
}

// layer has nine tensors.
func (m *modelFile) layer(i int) {
	layer := fmt.Sprintf("blk.%d.", i)
	m.vector(layer+"attn_norm.weight", bigWidth)
	m.vector(layer+"ffn_norm.weight", bigWidth)
	for _, square := range []string{"attn_q", "attn_k", "attn_v", "attn_output"} {
		m.matrix(layer+square+".weight", bigWidth, bigWidth)
	}
	m.matrix(layer+"ffn_gate.weight", bigHidden, bigWidth)
	m.matrix(layer+"ffn_up.weight", bigHidden, bigWidth)
	m.matrix(layer+"ffn_down.weight", bigWidth, bigHidden)
}
