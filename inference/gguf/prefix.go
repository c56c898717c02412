package gguf

import (
	"errors"
	"math"
	"slices"
	"strings"
)

// ParsePrefix reads those metadata that are whole in data, the first bytes of a
// file of size bytes, such as one that is not here yet. The File has no tensors, so
// its Needs are without weights. enough tells whether more bytes would tell no more
// about memory: the metadata are complete, or the tokenizer's, which come after the
// architecture's, have begun. data must stay as it is for as long as the File is used.
func ParsePrefix(data []byte, size int64) (f *File, enough bool, err error) {
	f = &File{parts: [][]byte{data}, values: map[string]value{}, index: map[string]int{}}
	r := &reader{data: data, more: int(min(max(size-int64(len(data)), 0), math.MaxInt/2))}
	keys, _, err := f.header(r)
	if err == nil {
		err = f.metadata(r, keys)
	}
	if err != nil && !errors.Is(err, errMore) {
		return nil, false, err
	}
	next, _ := r.name("key", len(f.keys), keys)
	tokenizer := slices.ContainsFunc(append(f.Keys(), next), func(key string) bool { return strings.HasPrefix(key, "tokenizer.") })
	return f, err == nil || tokenizer && f.Has(f.Architecture()+".block_count"), nil
}
