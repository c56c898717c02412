package tokenizer

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"rbee/inference/gguf"
)

// preTable is what llama.cpp b11434 makes of texts by every pre-tokenizer.
type preTable struct {
	Shown  []int    `json:"shown"` // the texts of more whose ids are listed
	More   []string `json:"more"`
	Groups []struct {
		Vocab  string    `json:"vocab"`
		Model  string    `json:"model"`
		Names  []string  `json:"names"`
		Skip   []int     `json:"skip"` // texts that end llama.cpp
		SHA256 string    `json:"sha256"`
		IDs    [][]int32 `json:"ids"`
	} `json:"groups"`
}

// Every pre-tokenizer that has a name gives llama.cpp's ids for a thousand texts.
func TestPre(t *testing.T) {
	var in texts
	read(t, "strings.json", &in)
	var table preTable
	read(t, "pre.json", &table)
	all := slices.Concat(in.Texts, table.More)
	var known []string
	for _, g := range table.Groups {
		for _, name := range g.Names {
			known = append(known, name)
			c, err := readConfig(file(t, "testdata/"+g.Vocab+".gguf"))
			if err != nil {
				t.Fatal(err)
			}
			c.Pre = name
			if g.Model != "" {
				c.Model, c.Lowercase = g.Model, false
			}
			tok, err := New(c)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			for i, k := range table.Shown {
				got := tok.Encode(table.More[k], EncodeOptions{})
				if g.IDs[i] != nil && !slices.Equal(got, g.IDs[i]) {
					t.Errorf("%s: text %q: got %v, want %v", name, table.More[k], got, g.IDs[i])
				}
			}
			if got := hashIDs(tok, all, g.Skip); got != g.SHA256 {
				t.Errorf("%s: the ids of all texts have the hash %s, want %s", name, got, g.SHA256)
			}
		}
	}
	for _, p := range pres {
		for name := range strings.FieldsSeq(p.names) {
			if !slices.Contains(known, name) {
				t.Errorf("%s: is in no test", name)
			}
		}
	}
}

func hashIDs(tok *Tokenizer, texts []string, skip []int) string {
	h := sha256.New()
	for i, text := range texts {
		if slices.Contains(skip, i) {
			continue
		}
		for j, id := range tok.Encode(text, EncodeOptions{}) {
			if j > 0 {
				h.Write([]byte(","))
			}
			fmt.Fprint(h, id)
		}
		h.Write([]byte("\n"))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// The classes are Unicode 15.1's, as llama.cpp's are: a hash over all characters
// tells when the Go release changes its tables.
func TestClasses(t *testing.T) {
	all := classes()
	b := make([]byte, len(all))
	for i, c := range all {
		b[i] = byte(c)
	}
	const want = "379a0fc1dba40b307437717df07abc423ee06bc602faf9ab90c9833b6756a86e"
	if got := fmt.Sprintf("%x", sha256.Sum256(b)); got != want {
		t.Errorf("the classes have the hash %s, want %s: give newer the differences", got, want)
	}
}

func TestPreRefused(t *testing.T) {
	_, err := findPre("martian")
	if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), `"martian"`) || !strings.Contains(err.Error(), "qwen35 refact") {
		t.Errorf("got %v, want it to name martian and list what there is", err)
	}
	if p, err := findPre(""); err != nil || p.names != "default" {
		t.Errorf("no name: got %q, %v, want the default", p.names, err)
	}
}

// White space around some models' special tokens is dropped.
func TestStrip(t *testing.T) {
	var cases []struct {
		Vocab  string            `json:"vocab"`
		Name   string            `json:"name"`
		Rename map[string]string `json:"rename"`
		Texts  []string          `json:"texts"`
		IDs    [][]int32         `json:"ids"`
	}
	read(t, "strip.json", &cases)
	for _, tt := range cases {
		c, err := readConfig(file(t, "testdata/"+tt.Vocab+".gguf"))
		if err != nil {
			t.Fatal(err)
		}
		c.Name = tt.Name
		var words []string
		for i := range c.Tokens.Len() {
			word := c.Tokens.At(i)
			if other, ok := tt.Rename[word]; ok {
				word = other
			}
			words = append(words, word)
		}
		c.Tokens = gguf.TextsOf(words...)
		tok, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		for i, text := range tt.Texts {
			if got := tok.Encode(text, EncodeOptions{AddSpecial: true, ParseSpecial: true}); !slices.Equal(got, tt.IDs[i]) {
				t.Errorf("%s: %q: got %v, want %v", tt.Name, text, got, tt.IDs[i])
			}
		}
	}
}

// Which tokens end an answer hangs on which others there are.
func TestEndings(t *testing.T) {
	tests := map[string]struct {
		words []string
		want  []string
	}{
		"by name":    {[]string{"a", "<|eot_id|>", "</s>", "[e~[", "<|eom_id|>", "<|im_start|>"}, []string{"<|eot_id|>", "</s>", "[e~[", "<|eom_id|>"}},
		"harmony":    {[]string{"<|return|>", "<|call|>", "<|end|>", "<|start|>"}, []string{"<|return|>", "<|call|>"}},
		"solar":      {[]string{"<|flush|>", "<|calls|>", "<|end|>"}, []string{"<|flush|>", "<|calls|>"}},
		"half of it": {[]string{"<|call|>", "<|end|>"}, []string{"<|call|>", "<|end|>"}},
		"gemma 4":    {[]string{"<|tool_response>", "</s>", "<turn|>"}, []string{"<|tool_response>", "<turn|>"}},
		"fill in":    {[]string{"<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<|fim_middle|>"}, []string{"<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"}},
	}
	for name, tt := range tests {
		tok, err := New(Config{Model: "gpt2", Tokens: gguf.TextsOf(tt.words...)})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for i, word := range tt.words {
			if tok.IsEOG(int32(i)) {
				got = append(got, word)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}
