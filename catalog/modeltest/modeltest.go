// Package modeltest makes tiny model files for tests.
package modeltest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// GGUF is a file of an architecture with some weights, which fill makes different
// from others. It has a whole header, and is no model that says anything.
func GGUF(architecture string, fill byte, weights int) []byte {
	return part(architecture, fill, weights, 0, 1)
}

// Parts are the parts of a split file.
func Parts(architecture string, fill byte, weights, n int) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = part(architecture, fill, weights, i, n)
	}
	return all
}

// PartName is the name that part i of n must have.
func PartName(base string, i, n int) string { return fmt.Sprintf("%s-%05d-of-%05d.gguf", base, i+1, n) }

// Hash is the SHA-256 of content, in hexadecimal.
func Hash(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// Write writes a file, and the directories above it.
func Write(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// types and widths of GGUF's values that are written here.
const (
	typeU16  = 2
	typeU32  = 4
	typeI32  = 5
	typeText = 8

	alignment = 32
	q8Block   = 32 // weights
	q8Bytes   = 34
	typeQ8    = 8 // of tensors
	fileQ8    = 7 // general.file_type
)

type writer struct{ bytes.Buffer }

func (w *writer) put(values ...any) {
	for _, v := range values {
		if text, ok := v.(string); ok {
			w.put(uint64(len(text)))
			w.WriteString(text)
			continue
		}
		_ = binary.Write(w, binary.LittleEndian, v) // a buffer takes everything
	}
}

func part(architecture string, fill byte, weights, no, of int) []byte {
	w := new(writer)
	keys := 2
	if of > 1 {
		keys += 3
	}
	w.WriteString("GGUF")
	w.put(uint32(3), uint64(1), uint64(keys))
	w.put("general.architecture", uint32(typeText), architecture, "general.file_type", uint32(typeU32), uint32(fileQ8))
	if of > 1 {
		w.put("split.no", uint32(typeU16), uint16(no), "split.count", uint32(typeU16), uint16(of), "split.tensors.count", uint32(typeI32), int32(of))
	}
	blocks := max(weights/q8Block, 1)
	w.put(fmt.Sprintf("blk.%d.weight", no), uint32(1), uint64(blocks*q8Block), uint32(typeQ8), uint64(0))
	w.Write(make([]byte, (alignment-w.Len()%alignment)%alignment))
	w.Write(bytes.Repeat([]byte{fill}, blocks*q8Bytes))
	return w.Bytes()
}
