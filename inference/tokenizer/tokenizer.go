// Package tokenizer turns text into token ids and back, as the model's file says.
//
// Two kinds are known: SPM (SentencePiece's BPE by scores, "llama") and byte-level
// BPE by ranks ("gpt2") with the splits into words that pre names. Both give the
// ids of llama.cpp.
package tokenizer

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"rbee/inference/gguf"
)

// ErrUnsupported is in the tree of the error about a tokenizer that is not known.
var ErrUnsupported = errors.New("not supported")

// The types of tokens, by GGUF's numbers.
const (
	Normal      int32 = 1
	Unknown     int32 = 2
	Control     int32 = 3
	UserDefined int32 = 4
	Byte        int32 = 6
)

// None is the id of a special token that the model does not have.
const None int32 = -1

// Config is all a tokenizer is made of.
type Config struct {
	Model  string // "llama" (SPM) or "gpt2" (BPE)
	Pre    string // of BPE: "default", "gpt-2", "llama-bpe"
	Tokens []string
	Scores []float32 // of SPM, as many as Tokens
	Types  []int32   // as many as Tokens; none: all Normal
	Merges []string  // of BPE: "left right", the first is merged first

	BOS, EOS, UnknownID int32
	EOG                 []int32 // tokens that end an answer, besides EOS
	AddBOS, AddEOS      bool
	AddSpacePrefix      bool // of SPM
}

// A Tokenizer is ready to use. Its methods may be called at once.
type Tokenizer struct {
	c       Config
	ids     map[string]int32 // of the tokens, by text
	special []int32          // tokens that are found in the text as they are, the longest first
	eog     map[int32]bool
	encode  encoder
}

// An encoder turns a text without special tokens into ids.
type encoder interface {
	encode(ids []int32, text string, first bool) []int32
	bytes(id int32) []byte // what a normal token spells
}

// EncodeOptions say what happens to special tokens.
type EncodeOptions struct {
	AddSpecial   bool // BOS and EOS as the model wants them
	ParseSpecial bool // <|…|> in the text are tokens; otherwise they are text
}

// endings are the texts of tokens that end an answer, whatever a file says.
var endings = []string{
	"<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "<|eom_id|>", "<EOT>", "_<EOT>", "</s>",
}

// FromGGUF makes the tokenizer of a model file.
func FromGGUF(f *gguf.File) (*Tokenizer, error) {
	text := func(key string) string { s, _ := f.String("tokenizer.ggml." + key); return s }
	id := func(key string) int32 {
		n, ok := f.Uint("tokenizer.ggml." + key + "_token_id")
		if !ok || n > 1<<30 {
			return None
		}
		return int32(n)
	}
	flag := func(key string, fallback bool) bool {
		if v, ok := f.Bool("tokenizer.ggml." + key); ok {
			return v
		}
		return fallback
	}
	c := Config{Model: text("model"), Pre: text("pre"), BOS: id("bos"), EOS: id("eos"), UnknownID: id("unknown")}
	spm := c.Model == "llama"
	c.AddBOS = flag("add_bos_token", spm || c.Pre == "llama-bpe")
	c.AddEOS = flag("add_eos_token", false)
	c.AddSpacePrefix = flag("add_space_prefix", spm)
	c.Tokens, _ = f.Strings("tokenizer.ggml.tokens")
	c.Scores, _ = f.Floats("tokenizer.ggml.scores")
	c.Merges, _ = f.Strings("tokenizer.ggml.merges")
	types, _ := f.Ints("tokenizer.ggml.token_type")
	for _, t := range types {
		c.Types = append(c.Types, int32(t))
	}
	for _, key := range []string{"eot", "eom"} {
		if n := id(key); n != None {
			c.EOG = append(c.EOG, n)
		}
	}
	return New(c)
}

// New checks c and builds the tokenizer.
func New(c Config) (*Tokenizer, error) {
	n := len(c.Tokens)
	switch {
	case c.Model == "":
		return nil, errors.New("tokenizer: the file has none (tokenizer.ggml.model is missing)")
	case n == 0:
		return nil, errors.New("tokenizer: the vocabulary is empty")
	case len(c.Types) != 0 && len(c.Types) != n:
		return nil, fmt.Errorf("tokenizer: %d types for %d tokens", len(c.Types), n)
	}
	for _, id := range append([]int32{c.BOS, c.EOS, c.UnknownID}, c.EOG...) {
		if id != None && (id < 0 || int(id) >= n) {
			return nil, fmt.Errorf("tokenizer: special token %d is not in a vocabulary of %d", id, n)
		}
	}
	t := &Tokenizer{c: c, ids: make(map[string]int32, n), eog: map[int32]bool{}}
	for i, text := range c.Tokens {
		if _, twice := t.ids[text]; !twice {
			t.ids[text] = int32(i)
		}
	}
	t.findSpecial()
	t.findEndings()
	var err error
	switch c.Model {
	case "llama":
		t.encode, err = newSPM(t)
	case "gpt2":
		t.encode, err = newBPE(t)
	default:
		err = fmt.Errorf("tokenizer: model %q is %w, only: llama (SPM) gpt2 (BPE)", c.Model, ErrUnsupported)
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}

func (t *Tokenizer) typ(id int32) int32 {
	if len(t.c.Types) == 0 {
		return Normal
	}
	return t.c.Types[id]
}

// findSpecial lists the tokens that are matched before the rest of the text.
func (t *Tokenizer) findSpecial() {
	for i, text := range t.c.Tokens {
		if typ := t.typ(int32(i)); text != "" && (typ == Control || typ == UserDefined || typ == Unknown) {
			t.special = append(t.special, int32(i))
		}
	}
	slices.SortStableFunc(t.special, func(a, b int32) int { return len(t.c.Tokens[b]) - len(t.c.Tokens[a]) })
}

func (t *Tokenizer) findEndings() {
	for _, id := range append([]int32{t.c.EOS}, t.c.EOG...) {
		if id != None {
			t.eog[id] = true
		}
	}
	for _, text := range endings {
		if id, ok := t.ids[text]; ok && t.typ(id) != Normal {
			t.eog[id] = true
		}
	}
}

// Vocab is the number of tokens.
func (t *Tokenizer) Vocab() int { return len(t.c.Tokens) }

// BOS and EOS return the texts of these tokens, "" for one that is not there.
func (t *Tokenizer) BOS() string { return t.text(t.c.BOS) }

// EOS returns the text of the end-of-sequence token.
func (t *Tokenizer) EOS() string { return t.text(t.c.EOS) }

func (t *Tokenizer) text(id int32) string {
	if id < 0 || int(id) >= len(t.c.Tokens) {
		return ""
	}
	return t.c.Tokens[id]
}

// AddsBOS tells whether AddSpecial puts a BOS in front.
func (t *Tokenizer) AddsBOS() bool { return t.c.AddBOS && t.c.BOS != None }

// IsEOG tells whether a token ends an answer.
func (t *Tokenizer) IsEOG(id int32) bool { return t.eog[id] }

// Encode returns the ids of a text.
func (t *Tokenizer) Encode(text string, o EncodeOptions) []int32 {
	var ids []int32
	if o.AddSpecial && t.AddsBOS() {
		ids = append(ids, t.c.BOS)
	}
	first := true // of the text, or after a special token
	for _, f := range t.fragments(text, o.ParseSpecial) {
		if f.id != None {
			ids, first = append(ids, f.id), true
			continue
		}
		ids, first = t.encode.encode(ids, f.text, first), false
	}
	if o.AddSpecial && t.c.AddEOS && t.c.EOS != None {
		ids = append(ids, t.c.EOS)
	}
	return ids
}

// A fragment is a special token, or a text when id is None.
type fragment struct {
	text string
	id   int32
}

// fragments cuts the special tokens out of a text: the longest ones first.
func (t *Tokenizer) fragments(text string, all bool) []fragment {
	if text == "" {
		return nil
	}
	parts := []fragment{{text, None}}
	for _, id := range t.special {
		word := t.c.Tokens[id]
		if !all && t.typ(id) != UserDefined || !strings.Contains(text, word) {
			continue
		}
		var cut []fragment
		for _, p := range parts {
			for p.id == None {
				before, after, found := strings.Cut(p.text, word)
				if !found {
					break
				}
				if before != "" {
					cut = append(cut, fragment{before, None})
				}
				cut = append(cut, fragment{word, id})
				p.text = after
			}
			if p.id != None || p.text != "" {
				cut = append(cut, p)
			}
		}
		parts = cut
	}
	return parts
}

// Piece returns the bytes that a token spells; for control tokens their text if
// special is true, else nothing. They may be a part of a character.
func (t *Tokenizer) Piece(id int32, special bool) []byte {
	if id < 0 || int(id) >= len(t.c.Tokens) {
		return nil
	}
	switch t.typ(id) {
	case Control, Unknown:
		if !special {
			return nil
		}
		return []byte(t.c.Tokens[id])
	case UserDefined:
		return []byte(t.c.Tokens[id])
	}
	return t.encode.bytes(id)
}

// Decode returns the bytes that the ids spell together. Where encoding puts a
// space in front, it is taken away again.
func (t *Tokenizer) Decode(ids []int32, special bool) []byte {
	var b []byte
	strip := t.c.AddSpacePrefix
	for _, id := range ids {
		piece := t.Piece(id, special)
		if strip && len(piece) > 0 && t.typ(id) != Control {
			if piece[0] == ' ' {
				piece = piece[1:]
			}
			strip = false
		}
		b = append(b, piece...)
	}
	return b
}
