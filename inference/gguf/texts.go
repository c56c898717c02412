package gguf

import (
	"encoding/binary"
	"math"
)

// Texts is an array of texts that lie one behind the other in one block of
// memory, as they do in a file: a vocabulary without a string header for each
// of its words. The zero value is empty.
type Texts struct {
	block  string
	starts []uint32 // in the block, of each text and of one more behind the last
}

// gap is what stands between two texts: in a file, the length of the second.
const gap = 8

// Len is the number of texts.
func (t Texts) Len() int { return max(len(t.starts)-1, 0) }

// At returns a text. It is a part of the block: nothing is allocated.
func (t Texts) At(i int) string { return t.block[t.starts[i] : t.starts[i+1]-gap] }

// TextsOf makes an array of texts that are at hand.
func TextsOf(texts ...string) Texts {
	var block []byte
	starts := make([]uint32, 0, len(texts)+1)
	for _, s := range texts {
		block = append(block, make([]byte, gap)...)
		starts = append(starts, uint32(len(block)))
		block = append(block, s...)
	}
	return Texts{string(block), append(starts, uint32(len(block)+gap))}
}

// Texts returns the array of texts at key: a copy that outlives the file, made
// in two allocations. It is not there when it takes 4 GiB or more.
func (f *File) Texts(key string) (Texts, bool) {
	v := f.values[key]
	if v.kind != kindArray || v.item != kindString {
		return Texts{}, false
	}
	starts := make([]uint32, v.count+1)
	at := v.start
	for i := range v.count {
		starts[i] = uint32(at + gap - v.start)
		at += gap + int(binary.LittleEndian.Uint64(f.parts[0][at:]))
	}
	starts[v.count] = uint32(at + gap - v.start)
	if at+gap-v.start > math.MaxUint32 {
		return Texts{}, false
	}
	return Texts{string(f.parts[0][v.start:at]), starts}, true
}

// Bytes returns a copy of the array of 8-bit integers at key.
func (f *File) Bytes(key string) ([]byte, bool) {
	v := f.values[key]
	if v.kind != kindArray || v.item != kindUint8 && v.item != kindInt8 {
		return nil, false
	}
	return append([]byte(nil), f.parts[0][v.start:][:v.count]...), true
}

// Int32s returns the array of 32-bit integers at key.
func (f *File) Int32s(key string) ([]int32, bool) {
	v := f.values[key]
	if v.kind != kindArray || v.item != kindInt32 && v.item != kindUint32 {
		return nil, false
	}
	all := make([]int32, v.count)
	for i := range all {
		all[i] = int32(binary.LittleEndian.Uint32(f.parts[0][v.start+4*i:]))
	}
	return all, true
}

// Float32s returns the array of 32-bit floats at key.
func (f *File) Float32s(key string) ([]float32, bool) {
	v := f.values[key]
	if v.kind != kindArray || v.item != kindFloat32 {
		return nil, false
	}
	all := make([]float32, v.count)
	for i := range all {
		all[i] = math.Float32frombits(binary.LittleEndian.Uint32(f.parts[0][v.start+4*i:]))
	}
	return all, true
}
