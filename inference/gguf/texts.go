package gguf

import "math"

// Texts is an array of texts that lie one behind the other in one block of
// memory, as they do in a file: a vocabulary without a string header for each
// of its words. The zero value is empty.
type Texts struct {
	block string
	spans []span
}

// A span is one text's place in the block.
type span struct{ start, end uint32 }

// Len is the number of texts.
func (t Texts) Len() int { return len(t.spans) }

// At returns a text. It is a part of the block: nothing is allocated.
func (t Texts) At(i int) string { s := t.spans[i]; return t.block[s.start:s.end] }

// TextsOf makes an array of texts that are at hand.
func TextsOf(texts ...string) Texts {
	var block []byte
	spans := make([]span, 0, len(texts))
	for _, s := range texts {
		spans = append(spans, span{uint32(len(block)), uint32(len(block) + len(s))})
		block = append(block, s...)
	}
	return Texts{string(block), spans}
}

// Texts returns the array of texts at key: a copy that outlives the file, made
// in two allocations. It is not there when it takes 4 GiB or more.
func (f *File) Texts(key string) (Texts, bool) {
	v := f.values[key]
	if v.kind != kindArray || v.item != kindString {
		return Texts{}, false
	}
	spans := make([]span, v.count)
	at := v.start
	for i := range spans {
		n := le64(f.parts[0][at:])
		spans[i] = span{uint32(at + 8 - v.start), uint32(at + 8 - v.start + int(n))}
		at += 8 + int(n)
	}
	if at-v.start > math.MaxUint32 {
		return Texts{}, false
	}
	return Texts{string(f.parts[0][v.start:at]), spans}, true
}

func le64(b []byte) (n uint64) {
	for i, c := range b[:8] {
		n |= uint64(c) << (8 * i)
	}
	return n
}

// Bytes returns a copy of the array of 8-bit integers at key.
func (f *File) Bytes(key string) ([]byte, bool) {
	v := f.values[key]
	if v.kind != kindArray || v.item != kindUint8 && v.item != kindInt8 {
		return nil, false
	}
	return append([]byte(nil), f.parts[0][v.start:][:v.count]...), true
}
