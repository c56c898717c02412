package inference

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"rbee/inference/gguf"
	"rbee/inference/kernel"
	"rbee/inference/model"
	"rbee/inference/quant"
)

// Group is the tensors of one role.
type Group = gguf.Group

// Shown is a metadata value.
type Shown = gguf.Shown

// An Inspection is what can be said of a model file without loading it.
type Inspection struct {
	Name       string // architecture, size, quantization
	Bytes      int64  // of the file, or of all its parts
	Version    uint32
	Parameters int64
	Runs       error // why this engine does not run it; nil when it does

	Context, Slots int
	Needs          gguf.Needs // with these
	NeedsError     error      // why there is no figure

	Metadata []Shown
	Groups   []Group
	Speeds   []Speed
}

// A Speed says how fast the weights of one type are multiplied.
type Speed struct {
	Type  string
	Bytes int64
	Class string // "fast", "integer", "plain", or "not at all"
}

// shownItems is how many items of an array are shown.
const shownItems = 6

// Inspect reads the header of the model at path and says what it holds, and what it
// needs with slots sequences of context tokens (0: the model's, at most 8192).
func Inspect(path string, context, slots int) (Inspection, error) {
	f, err := openFile(path)
	if err != nil {
		return Inspection{}, err
	}
	defer f.Close()
	in := Inspection{
		Name: f.Name(), Bytes: f.Size(), Version: f.Version, Parameters: f.Parameters(),
		Context: context, Slots: max(slots, 1), Groups: f.Groups(), Speeds: speeds(f),
	}
	if in.Context <= 0 {
		in.Context = f.DefaultContext()
	}
	_, err = model.ReadConfig(f)
	in.Runs = unsupported(err)
	in.Needs, in.NeedsError = f.Needs(in.Context, in.Slots)
	for _, key := range f.Keys() {
		s, _ := f.Show(key, shownItems)
		in.Metadata = append(in.Metadata, s)
	}
	return in, nil
}

// speeds returns the types of a file's matrices, those of most bytes first.
func speeds(f *gguf.File) (list []Speed) {
	for _, t := range f.Tensors() {
		if len(t.Dims) < 2 { // vectors are float32 in memory
			continue
		}
		name := gguf.TypeName(t.Type)
		at := slices.IndexFunc(list, func(s Speed) bool { return s.Type == name })
		if at < 0 {
			at, list = len(list), append(list, Speed{Type: name, Class: speedOf(quant.Type(t.Type))})
		}
		list[at].Bytes += t.Size
	}
	slices.SortStableFunc(list, func(a, b Speed) int { return int(min(max(b.Bytes-a.Bytes, -1), 1)) })
	return list
}

func speedOf(t quant.Type) string {
	if !t.Known() {
		return "not at all"
	}
	return kernel.ClassOf(t).String()
}

// Dequantize writes count values of a block type, which it reads from r, as float32,
// little-endian; a count of 0 is all there are.
func Dequantize(w io.Writer, r io.Reader, typeName string, count int64) error {
	types := quant.Types()
	at := slices.IndexFunc(types, func(t quant.Type) bool { return t.String() == typeName })
	if at < 0 {
		return fmt.Errorf("%w: type %q is not known, only %s", ErrBadRequest, typeName, quant.Supported())
	}
	t := types[at]
	if count < 0 || count%int64(t.Block()) != 0 {
		return fmt.Errorf("%w: %d values are no whole blocks of %v, which have %d", ErrBadRequest, count, t, t.Block())
	}
	const blocks = 64
	in, out := make([]byte, blocks*t.BlockBytes()), make([]float32, blocks*t.Block())
	for done, over := int64(0), false; !over && (count == 0 || done < count); {
		n := blocks
		if count > 0 {
			n = int(min(blocks, (count-done)/int64(t.Block())))
		}
		got, err := io.ReadFull(r, in[:n*t.BlockBytes()])
		over = errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		whole := got / t.BlockBytes()
		switch {
		case err != nil && !over:
			return fmt.Errorf("inference: dequantize: %w", err)
		case over && (count > 0 || got%t.BlockBytes() != 0):
			return fmt.Errorf("%w: the input ends within value %d", ErrBadRequest, done+int64(whole*t.Block()))
		}
		t.Decode(out[:whole*t.Block()], in[:whole*t.BlockBytes()])
		if err := writeFloats(w, out[:whole*t.Block()]); err != nil {
			return err
		}
		done += int64(whole * t.Block())
	}
	return nil
}
