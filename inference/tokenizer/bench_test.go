package tokenizer

import (
	"strings"
	"testing"

	"rbee/inference/gguf"
)

// BenchmarkReady makes the tokenizer of Gemma 3, 262144 tokens, from a file that
// is open, and encodes a first word.
func BenchmarkReady(b *testing.B) {
	f := file(b, gemma(b))
	b.ReportAllocs()
	for b.Loop() {
		tok, err := FromGGUF(f)
		if err != nil {
			b.Fatal(err)
		}
		tok.Encode("Hello<end_of_turn>", EncodeOptions{ParseSpecial: true})
	}
}

// BenchmarkOpen is BenchmarkReady with opening the file.
func BenchmarkOpen(b *testing.B) {
	path := gemma(b)
	for b.Loop() {
		f, err := gguf.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := FromGGUF(f); err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
}

func BenchmarkEncode(b *testing.B) {
	var in texts
	read(b, "strings.json", &in)
	prose := strings.Repeat(strings.Join(in.Texts[326:340], "\n"), 10)
	same := strings.Repeat("a", 1<<20)
	for _, name := range []string{"spm-llama", "bpe-llama-bpe", "bpe-gpt-4o", "ugm-t5", "wpm-bert"} {
		tok := open(b, name)
		for what, text := range map[string]string{"prose": prose, "same": same} {
			b.Run(name+"/"+what, func(b *testing.B) {
				b.SetBytes(int64(len(text)))
				b.ReportAllocs()
				for b.Loop() {
					tok.Encode(text, EncodeOptions{ParseSpecial: true})
				}
			})
		}
	}
}
