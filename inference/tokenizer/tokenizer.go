// Package tokenizer turns text into token ids and back, as the model's file says.
//
// Four kinds are known: SPM (SentencePiece's BPE by scores, "llama"), BPE by
// ranks ("gpt2") with every way to split a text into words that llama.cpp b11434
// has a name for, WordPiece ("bert") and unigram ("t5"). All give llama.cpp's ids.
// The models "rwkv", "plamo2" and "hybriddna" are refused.
//
// # Design
//
// A vocabulary stays in one block of memory, as it is in the file, and is found
// by hash in an open-addressed table of numbers: a quarter of a million tokens
// are ready in a few milliseconds. What needs an order (special tokens, unigram)
// is sorted when the first text comes.
//
// The splits are written by hand, each beside the regular expression it stands
// for: Go's regexp knows no look-ahead, and those of llama.cpp are to be followed
// even where they differ from the models' own.
package tokenizer

import (
	"errors"

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
	Unused      int32 = 5
	Byte        int32 = 6
)

// None is the id of a special token that the model does not have.
const None int32 = -1

// A Tokenizer is ready to use. Its methods may be called at once.
type Tokenizer struct {
	c       Config
	v       *vocab
	eog     map[int32]bool
	special specials
	encode  encoder
}

// An encoder turns a text without special tokens into ids.
type encoder interface {
	// encode appends the ids of a text. first tells whether the text is the
	// first, or stands behind a special token.
	encode(ids []int32, text string, first bool) []int32
	// piece returns what a normal token of a text spells.
	piece(text string) []byte
}

// EncodeOptions say what happens to special tokens.
type EncodeOptions struct {
	AddSpecial   bool // BOS and EOS as the model wants them
	ParseSpecial bool // <|…|> in the text are tokens; otherwise they are text
}

// New checks c and builds the tokenizer.
func New(c Config) (*Tokenizer, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	t := &Tokenizer{c: c, v: newVocab(&c)}
	var err error
	switch c.Model {
	case "llama":
		t.encode, err = newSPM(t.v, &c)
	case "bert":
		t.encode = newWPM(t.v, &c)
	case "t5":
		t.encode, err = newUGM(t.v, &c)
	default:
		t.encode, err = newBPE(t.v, &c)
	}
	if err != nil {
		return nil, err
	}
	t.findEndings()
	t.findStrips()
	t.c.Types, t.c.Merges = nil, gguf.Texts{} // their users have what they need
	return t, nil
}

// Vocab is the number of tokens.
func (t *Tokenizer) Vocab() int { return t.v.len() }

// BOS returns the text of the token that begins a sequence, "" when there is none.
func (t *Tokenizer) BOS() string { return t.textOf("bos") }

// EOS returns the text of the end-of-sequence token, "" when there is none.
func (t *Tokenizer) EOS() string { return t.textOf("eos") }

func (t *Tokenizer) textOf(name string) string {
	if id := t.c.id(name); id != None {
		return t.v.text(id)
	}
	return ""
}

// AddsBOS tells whether AddSpecial puts a BOS in front.
func (t *Tokenizer) AddsBOS() bool {
	return (t.c.AddBOS || t.c.Model == "bert") && t.c.id("bos") != None
}

// last is the token that AddSpecial puts behind, or None.
func (t *Tokenizer) last() int32 {
	switch {
	case t.c.Model == "bert":
		return t.c.id(separator)
	case t.c.AddEOS:
		return t.c.id("eos")
	}
	return None
}

// IsEOG tells whether a token ends an answer.
func (t *Tokenizer) IsEOG(id int32) bool { return t.eog[id] }

// Encode returns the ids of a text. It takes n·log(n) steps for n bytes.
func (t *Tokenizer) Encode(text string, o EncodeOptions) []int32 {
	ids := make([]int32, 0, len(text)/4+8)
	if o.AddSpecial && t.AddsBOS() {
		ids = append(ids, t.c.id("bos"))
	}
	if text != "" {
		first := true
		for _, f := range t.fragments(text, o.ParseSpecial) {
			if f.id != None {
				ids, first = append(ids, f.id), true
				continue
			}
			ids, first = t.encode.encode(ids, text[f.from:f.to], first), false
		}
	}
	if id := t.last(); o.AddSpecial && id != None {
		ids = append(ids, id)
	}
	return ids
}

// Piece returns the bytes that a token spells; for control tokens their text if
// special is true, else nothing. They may be a part of a character.
func (t *Tokenizer) Piece(id int32, special bool) []byte {
	if !t.v.has(id) {
		return nil
	}
	text := t.v.text(id)
	switch a := t.v.attrs[id]; {
	case a&(control|unknown) != 0 && !special:
		return nil
	case a&(control|unknown|userDefined) != 0:
		return []byte(text)
	case a&normal != 0:
		return t.encode.piece(text)
	case a&byteToken != 0:
		if b, ok := hexByte(text); ok {
			return []byte{b}
		}
	}
	return nil
}

// Decode returns the bytes that the ids spell together. Where encoding puts a
// space in front, it is taken away again; WordPiece's spaces before signs are too.
func (t *Tokenizer) Decode(ids []int32, special bool) []byte {
	var b []byte
	strip := t.c.AddSpacePrefix
	for _, id := range ids {
		piece := t.Piece(id, special)
		if strip && len(piece) > 0 && t.v.attrs[id]&control == 0 {
			if piece[0] == ' ' {
				piece = piece[1:]
			}
			strip = false
		}
		b = append(b, piece...)
	}
	if t.c.Model == "bert" {
		return clean(b)
	}
	return b
}
