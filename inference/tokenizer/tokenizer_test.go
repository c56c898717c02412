package tokenizer

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"rbee/inference/gguf"
)

type golden struct {
	IDs        [][]int32         `json:"ids"`
	IDsSpecial [][]int32         `json:"ids_special"`
	Detok      map[string]string `json:"detok_hex_where_different"`
	Streams    []struct {
		IDs    []int32  `json:"ids"`
		Pieces []string `json:"pieces_hex"`
		Chunks []string `json:"chunks"`
	} `json:"streams"`
	Check struct {
		There map[string][]int32 `json:"ids_there"`
	} `json:"independent_check"`
}

// text are the strings of the goldens.
type texts struct {
	Texts []string `json:"texts"`
	Bad   []string `json:"bad_utf8_hex"`
}

func file(t testing.TB, path string) *gguf.File {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func open(t testing.TB, name string) *Tokenizer {
	t.Helper()
	tok, err := FromGGUF(file(t, "testdata/"+name+".gguf"))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func read(t testing.TB, name string, v any) {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
}

// names are the goldens, of llama.cpp with a vocabulary of each kind.
var names = []string{
	"spm-llama", "spm-gemma", "ugm-t5", "wpm-bert", "bpe-default", "bpe-gpt-2", "bpe-llama-bpe", "bpe-command-r", "bpe-dbrx",
	"bpe-deepseek-coder", "bpe-deepseek-llm", "bpe-deepseek-v3", "bpe-falcon", "bpe-gpt-4o", "bpe-qwen2", "bpe-refact",
	"bpe-smollm", "bpe-starcoder", "bpe-tekken",
}

// exact tells whether every text comes back from its ids as it was.
func exact(name string) bool { return name != "spm-llama" && name != "ugm-t5" && name != "wpm-bert" }

// llama.cpp's ids of every text, and back.
func TestGolden(t *testing.T) {
	for _, name := range names {
		t.Run(name, func(t *testing.T) { compare(t, open(t, name), name) })
	}
}

// The tokenizer of the real Gemma 3, whose 262144 tokens are in no repository.
func TestGemma(t *testing.T) {
	tok, err := FromGGUF(file(t, gemma(t)))
	if err != nil {
		t.Fatal(err)
	}
	compare(t, tok, "gemma3-270m")
}

// gemma is the path of the real model; without it a test is skipped.
func gemma(t testing.TB) string {
	path := os.Getenv("RBEE_GEMMA")
	if path == "" && os.Getenv("RBEE_TEST_ALL") != "" {
		t.Fatal("RBEE_GEMMA names no file: make test sets it to gemma-3-270m-q4_k_m.gguf")
	}
	if path == "" {
		t.Skip("RBEE_GEMMA names no file: want the path of gemma-3-270m-q4_k_m.gguf")
	}
	return path
}

func compare(t *testing.T, tok *Tokenizer, name string) {
	var in texts
	read(t, "strings.json", &in)
	var g golden
	read(t, name+".json", &g)
	for i, text := range in.Texts {
		ids := tok.Encode(text, EncodeOptions{})
		if !slices.Equal(ids, g.IDs[i]) && !slices.Equal(ids, g.Check.There[strconv.Itoa(i)]) {
			t.Errorf("text %d %q: got %v, want %v", i, text, ids, g.IDs[i])
		}
		if got := tok.Encode(text, EncodeOptions{AddSpecial: true, ParseSpecial: true}); !slices.Equal(got, g.IDsSpecial[i]) {
			t.Errorf("text %d %q, special: got %v, want %v", i, text, got, g.IDsSpecial[i])
		}
		other, differs := g.Detok[strconv.Itoa(i)]
		want, _ := hex.DecodeString(other)
		got := string(tok.Decode(ids, true))
		switch {
		case got == text && exact(name), differs && got == string(want), !differs && got == text:
		case name == "ugm-t5" && got == strings.TrimPrefix(string(want), " "):
		default:
			t.Errorf("text %d %q came back as %q", i, text, got)
		}
	}
	for _, bad := range in.Bad {
		b, _ := hex.DecodeString(bad)
		if ids := tok.Encode(string(b), EncodeOptions{}); !bytes.Equal(tok.Decode(ids, true), b) && exact(name) {
			t.Errorf("bytes %x came back as %x", b, tok.Decode(ids, true))
		}
	}
	streams(t, tok, g)
}

// streams plays tokens one by one.
func streams(t *testing.T, tok *Tokenizer, g golden) {
	for i, c := range g.Streams {
		s := tok.NewStream()
		var got strings.Builder
		for j, id := range c.IDs {
			piece, _ := hex.DecodeString(c.Pieces[j])
			if !bytes.Equal(tok.Piece(id, true), piece) {
				t.Errorf("piece of %d: got %q, want %q", id, tok.Piece(id, true), piece)
			}
			chunk := s.Push(id)
			if !utf8.ValidString(chunk) {
				t.Errorf("stream %d: chunk %q is no UTF-8", i, chunk)
			}
			got.WriteString(chunk)
		}
		got.WriteString(s.Flush())
		if want := strings.Join(c.Chunks, ""); squeeze(got.String()) != squeeze(want) && !controls(tok, c.IDs) {
			t.Errorf("stream %d: got %q, want %q", i, got.String(), want)
		}
	}
}

// controls tells whether a stream has control tokens, which the reference shows and we do not.
func controls(t *Tokenizer, ids []int32) bool {
	return slices.ContainsFunc(ids, func(id int32) bool { return t.v.attrs[id]&(control|unknown) != 0 })
}

// squeeze takes runs of U+FFFD as one.
func squeeze(s string) string {
	for strings.Contains(s, "\ufffd\ufffd") {
		s = strings.ReplaceAll(s, "\ufffd\ufffd", "\ufffd")
	}
	return s
}

func TestSpecial(t *testing.T) {
	tok := open(t, "bpe-llama-bpe")
	if !tok.AddsBOS() || tok.BOS() == "" || !tok.IsEOG(4089) || tok.IsEOG(5) {
		t.Errorf("special tokens: adds BOS %v, BOS %q, 4089 ends %v", tok.AddsBOS(), tok.BOS(), tok.IsEOG(4089))
	}
	text := tok.EOS()
	if ids := tok.Encode(text, EncodeOptions{ParseSpecial: true}); len(ids) != 1 || ids[0] != 4089 {
		t.Errorf("%q parsed: %v", text, ids)
	}
	if ids := tok.Encode(text, EncodeOptions{}); slices.Contains(ids, 4089) {
		t.Errorf("%q as text became the token: %v", text, ids)
	}
	if got := tok.Piece(4089, false); len(got) != 0 {
		t.Errorf("a control token spells %q", got)
	}
}

func TestRefused(t *testing.T) {
	good := Config{Model: "gpt2", Pre: "gpt-2", Tokens: gguf.TextsOf("a", "b", "ab"), Merges: gguf.TextsOf("a b")}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		change func(*Config)
		says   string
	}{
		"no model":      {func(c *Config) { c.Model = "" }, "missing"},
		"unknown model": {func(c *Config) { c.Model = "rwkv" }, `"rwkv"`},
		"unknown pre":   {func(c *Config) { c.Pre = "martian" }, `"martian"`},
		"no tokens":     {func(c *Config) { c.Tokens = gguf.Texts{} }, "empty"},
		"types":         {func(c *Config) { c.Types = []int32{1} }, "1 types for 3"},
		"bos":           {func(c *Config) { c.Special = map[string]int32{"bos": 3} }, "bos_token_id: token 3"},
		"merge":         {func(c *Config) { c.Merges = gguf.TextsOf("ab") }, `"ab"`},
		"scores":        {func(c *Config) { c.Model = "llama" }, "0 scores"},
	}
	for name, tt := range tests {
		c := good
		tt.change(&c)
		_, err := New(c)
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %v, want it to say %q", name, err, tt.says)
		}
		if strings.HasPrefix(name, "unknown") && !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v is no ErrUnsupported", name, err)
		}
	}
}

// A long text without an end is no work of its square: were it, this would take
// hours, not milliseconds.
func TestLong(t *testing.T) {
	for _, name := range []string{"spm-gemma", "ugm-t5", "wpm-bert", "bpe-default", "bpe-gpt-4o", "bpe-deepseek-llm"} {
		tok := open(t, name)
		for _, part := range []string{"abcdefghij", " ", "\n", "Ä", "<tool_call>"} {
			long := strings.Repeat(part, 500_000/len(part))
			ids := tok.Encode(long, EncodeOptions{ParseSpecial: true})
			if exact(name) && string(tok.Decode(ids, true)) != long {
				t.Errorf("%s: half a megabyte of %q did not come back", name, part)
			}
		}
	}
}

// A tokenizer is used by many at once.
func TestAtOnce(t *testing.T) {
	var in texts
	read(t, "strings.json", &in)
	for _, name := range []string{"spm-llama", "bpe-gpt-4o", "ugm-t5", "wpm-bert"} {
		var g golden
		read(t, name+".json", &g)
		tok := open(t, name)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for i, text := range in.Texts {
					if ids := tok.Encode(text, EncodeOptions{AddSpecial: true, ParseSpecial: true}); !slices.Equal(ids, g.IDsSpecial[i]) {
						t.Errorf("%s: text %q: got %v, want %v", name, text, ids, g.IDsSpecial[i])
					}
				}
			})
		}
		wg.Wait()
	}
}

func FuzzRoundTrip(f *testing.F) {
	var toks []*Tokenizer
	for _, name := range names {
		toks = append(toks, open(f, name))
	}
	f.Add("Hello, wörld! 123456 's\r\n\n  x")
	f.Add("\xff\xfe<|eot_id|> \u2581")
	f.Fuzz(func(t *testing.T, text string) {
		for i, tok := range toks {
			ids := tok.Encode(text, EncodeOptions{})
			got := string(tok.Decode(ids, true))
			if exact(names[i]) && got != text && (names[i] != "spm-gemma" || !strings.Contains(text, space)) {
				t.Errorf("%s: %q came back as %q", names[i], text, got)
			}
			tok.Encode(text, EncodeOptions{AddSpecial: true, ParseSpecial: true})
			s := tok.NewStream()
			for _, id := range ids {
				if !utf8.ValidString(s.Push(id)) {
					t.Errorf("%s: a chunk of %q is no UTF-8", names[i], text)
				}
			}
		}
	})
}
