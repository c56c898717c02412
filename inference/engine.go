// Package inference is an engine for language models in GGUF files. It knows
// nothing of rbee: open a model, run its loop, ask for answers.
//
//	e, err := inference.Open(ctx, "model.gguf", inference.Options{}, nil)
//	go e.Run(ctx)
//	for ev, err := range e.Generate(ctx, inference.Request{Prompt: "Hello"}) { … }
//
// Down from here: prompt.go makes tokens of a request, batch.go advances all
// answers together, model computes one step of them on a device.
package inference

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"unsafe"

	"rbee/inference/chat"
	"rbee/inference/device"
	"rbee/inference/device/cpu"
	"rbee/inference/embedded"
	"rbee/inference/gguf"
	"rbee/inference/model"
	"rbee/inference/tokenizer"
)

// Embedded is the path that means the model inside the program.
const Embedded = "embedded"

// The kinds of errors, found by errors.Is.
var (
	ErrFormat      = gguf.ErrFormat                              // the file is no usable model
	ErrUnsupported = errors.New("inference: not supported")      // the file or the request asks for what this engine has not
	ErrNoSlot      = errors.New("inference: all slots are busy") // every sequence is taken
	ErrBadRequest  = errors.New("inference: bad request")
	ErrClosed      = errors.New("inference: the engine has ended")
)

// A ContextError says that a prompt does not fit.
type ContextError struct{ Need, Have int } // in tokens; Need leaves room for one of the answer

func (e *ContextError) Error() string {
	return fmt.Sprintf("inference: the prompt needs a context of %d tokens, the context has %d", e.Need, e.Have)
}

// Options say how an engine runs. Zero values are chosen.
type Options struct {
	ContextLength int    // tokens per sequence; 0: the model's, at most 8192
	Slots         int    // answers at once; 0: 1
	Threads       int    // 0: 1
	Hardware      string // what the processor is called
}

// Progress tells how far a load is.
type Progress = model.Progress

// An Engine is one model, ready to answer. Its methods may be called at once.
type Engine struct {
	info  Info
	file  *gguf.File
	dev   device.Device
	model *model.Model // used by Run alone
	tok   *tokenizer.Tokenizer
	tmpl  template

	slots  chan struct{} // one for each free slot
	submit chan *job
	embeds chan *embedding
	ended  chan struct{} // closed when Run has returned
}

// Info describes a loaded model.
type Info struct {
	Architecture  string
	Quantization  string
	ContextLength int // tokens per sequence
	Slots         int
	Vocab         int
	MemoryBytes   int64
	Device        string // name of the hardware
	Class         string // kernel class: equal ones give equal bits
	HasTemplate   bool
}

// A template is the model's chat template, or why it cannot be used.
type template struct {
	*chat.Template
	err error
}

// Open loads the model at path, or the embedded one. progress, if not nil, is
// called after each layer. A done ctx ends the load. The caller runs Run and, when
// that has returned, Close.
func Open(ctx context.Context, path string, o Options, progress func(Progress)) (*Engine, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	e, err := load(ctx, f, o, progress)
	if err != nil {
		return nil, errors.Join(unsupported(err), f.Close())
	}
	return e, nil
}

func openFile(path string) (*gguf.File, error) {
	if path == Embedded {
		m := embedded.Model()
		return gguf.Parse(unsafe.Slice(unsafe.StringData(m), len(m))) // only ever read
	}
	return gguf.Open(path)
}

// EmbeddedSHA256 is the hash of the embedded model's file, in hexadecimal.
func EmbeddedSHA256() string {
	h := sha256.Sum256([]byte(embedded.Model()))
	return hex.EncodeToString(h[:])
}

// unsupported gives what the packages below call unsupported one name.
func unsupported(err error) error {
	if errors.Is(err, model.ErrUnsupported) || errors.Is(err, tokenizer.ErrUnsupported) {
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	return err
}

func load(ctx context.Context, f *gguf.File, o Options, progress func(Progress)) (*Engine, error) {
	if _, err := model.ReadConfig(f); err != nil { // before anything is read
		return nil, err
	}
	return loadOn(ctx, cpu.Open(max(o.Threads, 1), o.Hardware), f, o, progress)
}

// loadOn loads a model onto a device, which is the engine's from then on.
func loadOn(ctx context.Context, dev device.Device, f *gguf.File, o Options, progress func(Progress)) (*Engine, error) {
	tok, err := tokenizer.FromGGUF(f)
	if err != nil {
		return nil, errors.Join(err, dev.Close())
	}
	o.Slots = max(o.Slots, 1)
	m, err := model.Load(ctx, f, dev, model.Options{ContextLength: o.ContextLength, Slots: o.Slots}, progress)
	if err != nil {
		return nil, errors.Join(err, dev.Close())
	}
	if tok.Vocab() > m.Config().Vocab {
		return nil, errors.Join(fmt.Errorf("inference: %d tokens, but weights for %d: %w", tok.Vocab(), m.Config().Vocab, ErrFormat), dev.Close())
	}
	e := &Engine{
		file: f, dev: dev, model: m, tok: tok, tmpl: readTemplate(f),
		slots: make(chan struct{}, o.Slots), submit: make(chan *job), embeds: make(chan *embedding), ended: make(chan struct{}),
	}
	for range o.Slots {
		e.slots <- struct{}{}
	}
	c := m.Config()
	e.info = Info{
		Architecture: c.Architecture, Quantization: f.Quantization(), ContextLength: c.ContextLength, Slots: o.Slots,
		Vocab: c.Vocab, MemoryBytes: m.MemoryBytes(), Device: dev.Info().Name, Class: dev.Info().Class,
		HasTemplate: e.tmpl.Template != nil || e.tmpl.err != nil,
	}
	return e, nil
}

func readTemplate(f *gguf.File) (t template) {
	if src, ok := f.String("tokenizer.chat_template"); ok && src != "" {
		t.Template, t.err = chat.Parse(src)
	}
	return t
}

// Info describes the model.
func (e *Engine) Info() Info { return e.info }

// SlotsFree is the number of answers that could begin now.
func (e *Engine) SlotsFree() int { return len(e.slots) }

// Close gives the model's memory back. Run must have returned, or never been called.
func (e *Engine) Close() error {
	return errors.Join(e.dev.Close(), e.file.Close())
}
