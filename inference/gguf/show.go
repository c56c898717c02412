package gguf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// A Shown is one metadata value for people and programs to read.
type Shown struct {
	Key   string            `json:"key"`
	Type  string            `json:"type"`            // "u32", "string", "[]f32" …
	Count int               `json:"count,omitempty"` // of an array's items
	Value json.RawMessage   `json:"value,omitempty"` // not of an array
	Items []json.RawMessage `json:"items,omitempty"` // the first ones of an array
}

var kindNames = [...]string{"u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64"}

// Show returns the value at key, of an array the first items.
func (f *File) Show(key string, items int) (s Shown, ok bool) {
	v, ok := f.values[key]
	if !ok {
		return s, false
	}
	s = Shown{Key: key, Type: kindNames[v.kind]}
	if v.kind != kindArray {
		s.Value = v.json()
		return s, true
	}
	s.Type, s.Count = "[]"+kindNames[v.item], v.count
	r := reader{data: f.parts[0], at: v.start}
	for range min(items, v.count) {
		item := value{kind: v.item}
		if v.item == kindString {
			item.str, _ = r.text("") // checked when the file was opened
		} else {
			item.bits, _ = r.bits(v.item.width(), "")
		}
		s.Items = append(s.Items, item.json())
	}
	return s, true
}

// json is a value of a fixed size or a text. A number that JSON does not have is a text.
func (v value) json() json.RawMessage {
	if x, ok := v.kind.float(v.bits); ok {
		if math.IsInf(x, 0) {
			return json.RawMessage(`"` + strconv.FormatFloat(x, 'g', -1, 64) + `"`)
		}
		bits := 64
		if v.kind == kindFloat32 {
			bits = 32
		}
		return json.RawMessage(strconv.FormatFloat(x, 'g', -1, bits))
	}
	switch v.kind {
	case kindString:
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		_ = e.Encode(v.str) // a string always encodes
		return bytes.TrimSpace(b.Bytes())
	case kindBool:
		return json.RawMessage(strconv.FormatBool(v.bits != 0))
	}
	if n, ok := v.integer(); ok {
		return json.RawMessage(strconv.FormatInt(n, 10))
	}
	return json.RawMessage(strconv.FormatUint(v.bits, 10))
}

// Name is what people call the model: architecture, size and quantization.
func (f *File) Name() string {
	size, ok := f.String("general.size_label")
	if !ok || size == "" {
		size = shortCount(f.Parameters())
	}
	return f.Architecture() + " " + size + " " + f.Quantization()
}

func shortCount(n int64) string {
	switch x := float64(n); {
	case x >= 1e9:
		return fmt.Sprintf("%.1fB", x/1e9)
	case x >= 1e6:
		return fmt.Sprintf("%.0fM", x/1e6)
	}
	return fmt.Sprintf("%.0fK", float64(n)/1e3)
}

// Work is what a model computes of one token. Of experts those that are used count.
type Work struct {
	ReadBytes  int64 // weights that are read, the head among them
	Multiplied int64 // weights in matrices, without the head
	Head       int64 // weights of the head, by which only some tokens are multiplied; 0: it has none
	Blocks     int64 // of all these, those in quantised blocks
}

// lookedUp are the matrices of which a token takes one row.
var lookedUp = []string{"token_embd.weight", "position_embd.weight", "token_types.weight"}

// Work counts it: all weights but the embedding, which counts where it is the head, too.
func (f *File) Work() (w Work) {
	_, headed := f.Tensor("output.weight")
	causal, said := f.Bool(f.Architecture() + ".attention.causal")
	head := "output.weight"
	if !headed && (causal || !said) {
		head = "token_embd.weight"
	}
	experts, used := f.optional("expert_count", 0), f.optional("expert_used_count", 0)
	for _, t := range f.tensors {
		size, n := t.Size, t.Elements()
		if t.Name != head && slices.Contains(lookedUp, t.Name) {
			continue
		}
		if len(t.Dims) == 3 && experts > 0 && int64(t.Dims[2]) == experts {
			size, n = size/experts*min(used, experts), n/experts*min(used, experts)
		}
		w.ReadBytes += size
		if len(t.Dims) < 2 {
			continue
		}
		if t.Name == head {
			w.Head += n
		} else {
			w.Multiplied += n
		}
		if blockTypes[t.Type].block > 1 {
			w.Blocks += n
		}
	}
	return w
}

// TensorBytes is the size of all tensors.
func (f *File) TensorBytes() (n int64) {
	for _, t := range f.tensors {
		n += t.Size
	}
	return n
}
