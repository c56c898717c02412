package inference

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"rbee/inference/chat"
	"rbee/inference/gguf"
	"rbee/inference/sample"
	"rbee/inference/tokenizer"
)

// A Request asks for an answer. Exactly one of Prompt, Messages and Tokens is given.
type Request struct {
	Prompt   string            // one user message, or the text itself when Raw
	Messages []json.RawMessage // of a conversation; keys keep their order
	Tokens   []int32           // the prompt's tokens, as they are
	Raw      bool              // no chat template

	Tools  json.RawMessage // for the template
	Kwargs json.RawMessage // further variables of the template

	MaxTokens int // of the answer; 0: to the end of the context
	Stop      []string
	IgnoreEOG bool // go on after a token that ends the answer
	Logprobs  bool // each token comes with its log-probability
	TopN      int  // and those of so many of the likeliest tokens
	Sample    sample.Params
}

// Params say how tokens are chosen.
type Params = sample.Params

// A Prompt is what a model is given.
type Prompt struct {
	Tokens      []int32
	Untemplated bool // the model has no chat template: the text was taken as it is
}

// Prepare makes the tokens of a request.
func (e *Engine) Prepare(r Request) (Prompt, error) {
	switch {
	case len(r.Tokens) > 0:
		for _, id := range r.Tokens {
			if id < 0 || int(id) >= e.info.Vocab {
				return Prompt{}, fmt.Errorf("%w: token %d is not in a vocabulary of %d", ErrBadRequest, id, e.info.Vocab)
			}
		}
		return Prompt{Tokens: r.Tokens}, nil
	case r.Raw:
		return e.encode(r.Prompt, false)
	case !e.info.HasTemplate && len(r.Messages) == 0:
		return e.encode(r.Prompt, true)
	case !e.info.HasTemplate:
		return Prompt{}, fmt.Errorf("%w: the model has no chat template, so it can take a prompt but no messages", ErrUnsupported)
	}
	if len(r.Messages) == 0 {
		r.Messages = []json.RawMessage{userMessage(r.Prompt)}
	}
	text, err := e.Template(chat.Input{Messages: r.Messages, Tools: r.Tools, Kwargs: r.Kwargs, AddGenerationPrompt: true})
	if err != nil {
		return Prompt{}, err
	}
	return e.encode(text, false)
}

func userMessage(text string) json.RawMessage {
	b, _ := json.Marshal(map[string]string{"role": "user", "content": text}) // texts always marshal
	return b
}

// encode tokenizes a text. A template that writes BOS itself gets no second one.
func (e *Engine) encode(text string, untemplated bool) (Prompt, error) {
	bos := e.tok.BOS()
	twice := e.tok.AddsBOS() && bos != "" && strings.HasPrefix(text, bos)
	ids := e.tok.Encode(text, tokenizer.EncodeOptions{AddSpecial: !twice, ParseSpecial: true})
	if len(ids) == 0 {
		return Prompt{}, fmt.Errorf("%w: the prompt has no tokens", ErrBadRequest)
	}
	return Prompt{ids, untemplated}, nil
}

// Template renders the model's chat template. BOS, EOS and the time are filled in.
func (e *Engine) Template(in chat.Input) (string, error) {
	return e.tmpl.render(in, e.tok)
}

func (t template) render(in chat.Input, tok *tokenizer.Tokenizer) (string, error) {
	switch {
	case t.err != nil:
		return "", fmt.Errorf("%w: %w", ErrUnsupported, t.err)
	case t.Template == nil:
		return "", fmt.Errorf("%w: the model has no chat template", ErrUnsupported)
	}
	in.BOS, in.EOS = tok.BOS(), tok.EOS()
	if in.Now.IsZero() {
		in.Now = time.Now()
	}
	text, err := t.Render(in)
	if _, broken := errors.AsType[*chat.Error](err); broken {
		return "", fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrBadRequest, err)
	}
	return text, nil
}

// TemplateInput is what a chat template is rendered with.
type TemplateInput = chat.Input

// A Text is the part of a model that deals with text: what tools need that
// compute nothing.
type Text struct {
	file *gguf.File
	tok  *tokenizer.Tokenizer
	tmpl template
}

// OpenText opens the tokenizer and the template of the model at path.
func OpenText(path string) (*Text, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	tok, err := tokenizer.FromGGUF(f)
	if err != nil {
		return nil, errors.Join(unsupported(err), f.Close())
	}
	return &Text{f, tok, readTemplate(f)}, nil
}

// Close closes the file.
func (t *Text) Close() error { return t.file.Close() }

// EncodeOptions say what happens to special tokens.
type EncodeOptions = tokenizer.EncodeOptions

// Tokenize returns the ids of a text.
func (t *Text) Tokenize(text string, o EncodeOptions) []int32 { return t.tok.Encode(text, o) }

// Detokenize returns the bytes that ids spell, special tokens shown.
func (t *Text) Detokenize(ids []int32) []byte { return t.tok.Decode(ids, true) }

// Template renders the model's chat template.
func (t *Text) Template(in TemplateInput) (string, error) { return t.tmpl.render(in, t.tok) }

// Tokenize returns the ids of a text.
func (e *Engine) Tokenize(text string, o EncodeOptions) []int32 { return e.tok.Encode(text, o) }
