package tokenizer

import (
	"errors"
	"fmt"
	"math"

	"rbee/inference/gguf"
)

// Config is all a tokenizer is made of.
type Config struct {
	Model  string // "llama" (SPM), "gpt2", "gemma4", "whitespace" (BPE), "bert" (WordPiece), "t5" (unigram)
	Pre    string // of BPE: how a text is split into words
	Tokens gguf.Texts
	Scores []float32  // of SPM and unigram, as many as Tokens
	Types  []int32    // as many as Tokens; none: all Normal
	Merges gguf.Texts // of BPE: "left right", the first is merged first

	// Special are the ids of special tokens by their key's name: bos, eos, eot,
	// eom, unknown, the separator, fim_pre, fim_suf, fim_mid,
	// fim_pad, fim_rep, fim_sep.
	Special        map[string]int32
	AddBOS, AddEOS bool

	AddSpacePrefix          bool   // of SPM and unigram: a space is put in front
	RemoveExtraSpaces       bool   // of unigram
	CharsMap                []byte // of unigram: its precompiled map of characters
	Lowercase, StripAccents bool   // of WordPiece

	Name, Arch string // of the model: some tokens' attributes hang on them
}

// id returns a special token, or None.
func (c *Config) id(name string) int32 {
	if id, ok := c.Special[name]; ok {
		return id
	}
	return None
}

// separator is the name of the token that ends a text, as GGUF spells it.
const separator = "seperator" //nolint:misspell // it is in every file

// keys are the names of special tokens; the older keys of three come last.
var keys = []string{
	"bos", "eos", "eot", "eom", "unknown", separator, "fim_pre", "fim_suf", "fim_mid", "fim_pad", "fim_rep", "fim_sep",
	"prefix", "suffix", "middle",
}

var olderKeys = map[string]string{"prefix": "fim_pre", "suffix": "fim_suf", "middle": "fim_mid"}

// defaults are the special tokens of a file that does not name them, as in
// llama.cpp. It takes token 11 for BOS and EOS of BPE too, which is right for the
// first Falcon alone: New wants it to be no Normal one.
var defaults = map[string]map[string]int32{
	"llama": {"bos": 1, "eos": 2, "unknown": 0},
	"bert":  {"bos": 101, "unknown": 100, separator: 102},
	"t5":    {"eos": 1, "unknown": 2},
	"gpt2":  {"bos": 11, "eos": 11},
}

var errEmpty = errors.New("tokenizer: tokenizer.ggml.tokens: the vocabulary is empty")

const prefix = "tokenizer.ggml."

// FromGGUF makes the tokenizer of a model file. It does not need the file any more.
func FromGGUF(f *gguf.File) (*Tokenizer, error) {
	c, err := readConfig(f)
	if err != nil {
		return nil, err
	}
	return New(c)
}

func readConfig(f *gguf.File) (Config, error) {
	text := func(key string) string { s, _ := f.String(key); return s }
	c := Config{Model: text(prefix + "model"), Pre: text(prefix + "pre"), Name: text("general.name"), Arch: f.Architecture()}
	if err := known(c.Model); err != nil {
		return c, err
	}
	if c.Model == "gemma4" {
		c.Pre = "gemma4"
	}
	if err := readArrays(f, &c); err != nil {
		return c, err
	}
	if err := readSpecial(f, &c); err != nil {
		return c, err
	}
	return c, readFlags(f, &c)
}

// readArrays reads what there is one of for each token or merge.
func readArrays(f *gguf.File, c *Config) error {
	var ok bool
	if c.Tokens, ok = f.Texts(prefix + "tokens"); !ok {
		return errors.New("tokenizer: tokenizer.ggml.tokens is missing or no array of texts")
	}
	if c.Tokens.Len() == 0 {
		return errEmpty
	}
	wrong := func(key, want string, ok bool) error {
		if ok || !f.Has(prefix+key) {
			return nil
		}
		return fmt.Errorf("tokenizer: tokenizer.ggml.%s is no array of %s", key, want)
	}
	c.Merges, ok = f.Texts(prefix + "merges")
	err := wrong("merges", "texts", ok)
	c.CharsMap, ok = f.Bytes(prefix + "precompiled_charsmap")
	err = errors.Join(err, wrong("precompiled_charsmap", "bytes", ok))
	if c.Scores, ok = f.Float32s(prefix + "scores"); !ok {
		var whole []int64
		whole, ok = f.Ints(prefix + "scores")
		for _, n := range whole {
			c.Scores = append(c.Scores, float32(n))
		}
	}
	err = errors.Join(err, wrong("scores", "numbers", ok))
	c.Types, ok = f.Int32s(prefix + "token_type")
	if f.Has(prefix+"merges") || c.Pre == "kimi-k2" || !bytePairs(c.Model) {
		return errors.Join(err, wrong("token_type", "32-bit numbers", ok))
	}
	return errors.Join(err, errors.New("tokenizer: tokenizer.ggml.merges is missing"))
}

// bytePairs tells whether a model is BPE.
func bytePairs(model string) bool {
	return model == "gpt2" || model == "gemma4" || model == "whitespace"
}

// readSpecial reads the ids of special tokens. The largest number there is says
// that there is none.
func readSpecial(f *gguf.File, c *Config) error {
	c.Special = map[string]int32{}
	for name, id := range defaults[c.Model] {
		if int(id) < c.Tokens.Len() {
			c.Special[name] = id
		}
	}
	if p, err := findPre(c.Pre); c.Model == "gpt2" && (err == nil && p.noBOS || c.normal(11)) {
		delete(c.Special, "bos")
	}
	if c.Model == "gpt2" && c.normal(11) {
		delete(c.Special, "eos")
	}
	for _, name := range keys {
		key := prefix + name + "_token_id"
		n, ok := f.Uint(key)
		switch {
		case !f.Has(key):
			continue
		case !numeric(f, key):
			return fmt.Errorf("tokenizer: %s is no number", key)
		case !ok || n == math.MaxUint32:
			delete(c.Special, name) // -1
			continue
		case n >= uint64(c.Tokens.Len()):
			return fmt.Errorf("tokenizer: %s: token %d is not in a vocabulary of %d", key, n, c.Tokens.Len())
		}
		if newer, ok := olderKeys[name]; ok {
			name = newer
		}
		c.Special[name] = int32(n)
	}
	return nil
}

func numeric(f *gguf.File, key string) bool { _, ok := f.Float(key); return ok }

// normal tells whether a token is there and just text.
func (c *Config) normal(id int) bool {
	return id < c.Tokens.Len() && (id >= len(c.Types) || c.Types[id] == Normal)
}

func readFlags(f *gguf.File, c *Config) error {
	var err error
	flag := func(key string, fallback bool) bool {
		if v, ok := f.Bool(prefix + key); ok {
			return v
		}
		if f.Has(prefix + key) {
			err = fmt.Errorf("tokenizer: tokenizer.ggml.%s is no truth value", key)
		}
		return fallback
	}
	p, _ := findPre(c.Pre)
	bpe := bytePairs(c.Model)
	c.AddBOS = flag("add_bos_token", c.Model == "llama" || bpe && p.bos)
	c.AddEOS = flag("add_eos_token", c.Model == "t5")
	if bpe && p.raw && p.feeds && p.bos { // Gemma 4, whose files say it wrong
		c.AddBOS = true
	}
	c.AddSpacePrefix = flag("add_space_prefix", c.Model == "llama")
	c.RemoveExtraSpaces = flag("remove_extra_whitespaces", false)
	c.Lowercase = flag("normalizer.lowercase", !bpe || c.Pre != "whitespace")
	c.StripAccents = flag("normalizer.strip_accents", c.Lowercase)
	return err
}

// known refuses the models that are not.
func known(model string) error {
	switch model {
	case "":
		return errors.New("tokenizer: tokenizer.ggml.model is missing: the file has no tokenizer")
	case "llama", "gpt2", "gemma4", "whitespace", "bert", "t5":
		return nil
	}
	return fmt.Errorf("tokenizer: tokenizer.ggml.model: %q is %w, only: llama (SPM), gpt2 gemma4 whitespace (BPE), bert (WordPiece), t5 (unigram)", model, ErrUnsupported)
}

// check refuses what no tokenizer can be made of.
func (c *Config) check() error {
	if err := known(c.Model); err != nil {
		return err
	}
	n := c.Tokens.Len()
	switch {
	case n == 0:
		return errEmpty
	case len(c.Types) != 0 && len(c.Types) != n:
		return fmt.Errorf("tokenizer: tokenizer.ggml.token_type: %d types for %d tokens", len(c.Types), n)
	case c.Model == "bert" && (c.id("bos") == None || c.id(separator) == None):
		return errors.New("tokenizer: tokenizer.ggml.bos_token_id or " + separator + "_token_id is missing: WordPiece needs both")
	case c.Model == "t5" && c.id("unknown") == None:
		return errors.New("tokenizer: tokenizer.ggml.unknown_token_id is missing: a unigram model needs it")
	}
	for name, id := range c.Special {
		if id < 0 || int(id) >= n {
			return fmt.Errorf("tokenizer: tokenizer.ggml.%s_token_id: token %d is not in a vocabulary of %d", name, id, n)
		}
	}
	return nil
}
