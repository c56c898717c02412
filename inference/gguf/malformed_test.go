package gguf

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

// A malformed is a file that must be refused, with what the error must say.
type malformed struct {
	name string
	data []byte
	says string
}

// key begins a file with one value of a type under the key k.
func key(typ uint32) *writer { return new(writer).header(3, 0, 1).str("k").u32(typ) }

func padded(w *writer) []byte {
	w.Write(make([]byte, 4096))
	return w.Bytes()
}

// malformeds are well over 150 files.
func malformeds() (all []malformed) {
	add := func(says string, data []byte, name string, args ...any) {
		all = append(all, malformed{fmt.Sprintf(name, args...), data, says})
	}
	whole := small()
	for n := 0; n < len(whole); n += 3 {
		add("cut off", whole[:n], "the first %d bytes", n)
	}
	malformedHeaders(add)
	malformedKeys(add)
	malformedTensors(add)
	malformedSplits(add)
	return all
}

type adder func(says string, data []byte, name string, args ...any)

func malformedHeaders(add adder) {
	for _, m := range []string{"lmgg", "tjgg", "FUGG", "PK\x03\x04", "gguf", "\x00\x00\x00\x00", "GGUG", "<!DO", "vers"} {
		add("magic", padded(newWriter(m).u32(3).u64(0).u64(0)), "magic %q", m)
	}
	for _, v := range []uint32{0, 1, 4, 9, 1 << 31, 1 << 24, 2 << 24, 3 << 24, math.MaxUint32} {
		add("version", padded(new(writer).header(v, 0, 0)), "version %#x", v)
	}
	for _, n := range []uint64{maxTensors + 1, 1 << 20, 1 << 32, 1 << 60, 1 << 63, math.MaxUint64, 60000} {
		add("tensor count", padded(new(writer).header(3, n, 0)), "%d tensors", n)
		add("key count", padded(new(writer).header(3, 0, n)), "%d keys", n)
	}
	add("key count of 2", new(writer).header(3, 0, 2).str("k").u32(0).raw(0).raw(make([]byte, 13)...).Bytes(), "one key fewer than said")
	add("tensor 2 of 2", padded(new(writer).header(3, 2, 0).tensor("t", 0, 0, 1)), "one tensor fewer than said")
}

func malformedKeys(add adder) {
	for _, n := range []uint64{1 << 13, maxString + 1, 1 << 40, 1 << 63, math.MaxUint64, math.MaxUint64 - 7} {
		add("k", padded(key(8).u64(n)), "a text of %d bytes", n)
		add("name of key 1", padded(new(writer).header(3, 0, 1).u64(n)), "a key of %d bytes", n)
		add("item 0 of k", padded(key(9).u32(8).u64(1).u64(n)), "an item of %d bytes", n)
		add("name of tensor 1", padded(new(writer).header(3, 1, 0).u64(n)), "a tensor's name of %d bytes", n)
	}
	for _, typ := range []uint32{13, 14, 99, 1 << 16, math.MaxUint32} {
		add("unknown type", padded(key(typ)), "a value of type %d", typ)
		add("unknown type", padded(key(9).u32(typ).u64(1)), "items of type %d", typ)
	}
	for typ := range uint32(13) {
		for _, n := range []uint64{1 << 16, 1 << 40, math.MaxUint64} {
			if typ != 9 {
				add("k", padded(key(9).u32(typ).u64(n)), "%d items of type %d", n, typ)
			}
		}
	}
	for depth := 1; depth <= 1<<16; depth *= 16 {
		w := key(9)
		for range depth {
			w.u32(9).u64(1)
		}
		add("array of arrays", padded(w.u32(0).u64(1)), "arrays %d deep", depth)
	}
	for name, k := range map[string]string{"none": "", "bytes that are no UTF-8": "\xff\xfe", "a zero": "a\x00b"} {
		add("no usable name", padded(new(writer).header(3, 0, 1).str(k).u32(4).u32(1)), "as a key %s", name)
		add("no usable name", padded(new(writer).header(3, 1, 0).tensor(k, 0, 0, 1)), "as a tensor's name %s", name)
	}
	add("twice", padded(new(writer).header(3, 0, 2).str("k").u32(4).u32(1).str("k").u32(8).str("x")), "a key twice")
	add("NaN", padded(key(6).u32(math.Float32bits(float32(math.NaN())))), "a float32 NaN")
	add("NaN", padded(key(12).u64(math.Float64bits(math.NaN()))), "a float64 NaN")
	add("NaN", padded(key(9).u32(6).u64(2).u32(0).u32(0x7fc00001)), "a NaN among floats")
	add("truth value", padded(key(7).raw(2)), "a truth value of 2")
	add("truth value", padded(key(9).u32(7).u64(2).raw(1, 255)), "a truth value of 255 among others")
	for _, n := range []uint32{0, 3, 24, 33, 1<<20 + 1, 1 << 21, math.MaxUint32} {
		add("general.alignment", padded(new(writer).header(3, 0, 1).str("general.alignment").u32(4).u32(n)), "alignment %d", n)
	}
	add("general.alignment", padded(new(writer).header(3, 0, 1).str("general.alignment").u32(8).str("32")), "alignment as a text")
	add("general.alignment", padded(new(writer).header(3, 0, 1).str("general.alignment").u32(5).u32(math.MaxUint32)), "alignment -1")
}

func malformedTensors(add adder) {
	one := func() *writer { return new(writer).header(3, 1, 0) }
	for _, n := range []int{0, 5, 9, 100} {
		add("dimensions", padded(one().tensor("t", 0, 0, make([]uint64, n)...)), "%d dimensions", n)
	}
	add("dimensions", padded(one().str("t").u32(math.MaxUint32)), "2³²-1 dimensions")
	for _, dims := range [][]uint64{{0}, {0, 4}, {4, 0}, {1, 1, 1, 0}, {1 << 63}, {1 << 40, 1 << 40}, {1 << 32, 1 << 32}, {math.MaxUint64, math.MaxUint64}, {1 << 57}} {
		add("impossible dimensions", padded(one().tensor("t", 0, 0, dims...)), "dimensions %v", dims)
	}
	for _, typ := range []uint32{4, 5, 31, 33, 36, 77, 1 << 20, math.MaxUint32} {
		add("unknown type", padded(one().tensor("t", typ, 0, 256)), "a tensor of type %d", typ)
	}
	for _, typ := range []uint32{2, 3, 6, 7, 8, 10, 12, 14, 20, 23, 39} {
		add("no multiple", padded(one().tensor("t", typ, 0, 33, 2)), "rows of 33 values of type %d", typ)
	}
	for _, at := range []uint64{1, 4, 31, 33} {
		add("not aligned", padded(one().tensor("t", 0, at, 4)), "data at %d", at)
	}
	for _, at := range []uint64{4096 + 32, 1 << 20, 1 << 40, 1 << 63, math.MaxUint64 - 31} {
		add("cut off", padded(one().tensor("t", 0, at, 4)), "data behind the end at %d", at)
	}
	for _, n := range []uint64{1 << 11, 1 << 20, 1 << 40, 1 << 55} {
		add("cut off", padded(one().tensor("t", 0, 0, n)), "%d values of which the end is missing", n)
	}
	two := func() *writer { return new(writer).header(3, 2, 0) }
	for i, from := range []uint64{0, 32, 96} {
		add("in tensor", padded(two().tensor("a", 0, 0, 32).tensor("b", 0, from, 4)), "overlapping tensors %d", i)
		add("in tensor", padded(two().tensor("b", 0, from, 4).tensor("a", 0, 0, 32)), "overlapping tensors the other way %d", i)
	}
	add("twice", padded(two().tensor("t", 0, 0, 4).tensor("t", 0, 32, 4)), "a tensor twice")
}

func malformedSplits(add adder) {
	for i, k := range [][3]int64{{0, 2, 1}, {1, 2, 1}, {2, 2, 1}, {5, 1, 0}, {0, 1 << 20, 0}, {-1, 2, 0}, {0, -1, 0}, {0, 1, 7}, {0, 1, -1}} {
		add("split.", padded(splitKeys(k[0], k[1], k[2], 0)), "split keys %d", i)
	}
	add("split.count is missing", padded(new(writer).header(3, 0, 1).str("split.no").u32(4).u32(0)), "split.no alone")
	add("split.no is missing", padded(new(writer).header(3, 0, 1).str("split.count").u32(4).u32(2)), "split.count alone")
	add("split.count", padded(new(writer).header(3, 0, 2).str("split.no").u32(4).u32(0).str("split.count").u32(8).str("2")), "split.count as a text")
}

var position = regexp.MustCompile(`byte \d+: |is missing`)

// Each is refused fast, in little memory, by an error that says what and where.
func TestMalformed(t *testing.T) {
	all := malformeds()
	if len(all) < 150 {
		t.Fatalf("only %d files", len(all))
	}
	seen := map[string]bool{}
	for _, m := range all {
		if seen[m.name] {
			t.Errorf("two files are called %q", m.name)
		}
		seen[m.name] = true
		t.Run(m.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			began := time.Now()
			_, err := Parse(m.data)
			took := time.Since(began)
			runtime.ReadMemStats(&after)
			if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), m.says) || !position.MatchString(err.Error()) {
				t.Errorf("got %v, want it to say %q and where", err, m.says)
			}
			if used := after.TotalAlloc - before.TotalAlloc; took > 2*time.Second || used > 256<<20 {
				t.Errorf("refused after %v and %d bytes", took, used)
			}
		})
	}
}

// However large the counts are, memory stays within a small multiple of the file.
func TestMemoryIsBoundedByTheFile(t *testing.T) {
	const n = 20000
	w := new(writer).header(3, n, n)
	for i := range n {
		w.str(fmt.Sprintf("k%d", i)).u32(0).raw(1)
	}
	for i := range n {
		w.tensor(fmt.Sprintf("t%d", i), 0, uint64(i*32), 1)
	}
	data := append(w.Bytes(), make([]byte, n*32+32)...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := Parse(data); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if used := int64(after.TotalAlloc - before.TotalAlloc); used > 32*int64(len(data)) {
		t.Errorf("%d bytes for a file of %d", used, len(data))
	}
}

func newWriter(magic string) *writer {
	w := new(writer)
	w.WriteString(magic)
	return w
}

func (w *writer) raw(b ...byte) *writer {
	w.Write(b)
	return w
}

// splitKeys begins a file with the three keys of a part, as llama-gguf-split
// writes them.
func splitKeys(no, count, tensors int64, own uint64) *writer {
	w := new(writer).header(3, own, 3)
	w.str("split.no").u32(5).u32(uint32(no))
	w.str("split.count").u32(5).u32(uint32(count))
	w.str("split.tensors.count").u32(5).u32(uint32(tensors))
	return w
}

func (w *writer) align() *writer {
	for w.Len()%32 != 0 {
		w.WriteByte(0)
	}
	return w
}

// part is a part with a tensor of one value, which is its number.
func part(no, count, tensors int64) []byte {
	w := splitKeys(no, count, tensors, 1).tensor(fmt.Sprintf("t%d", no), 0, 0, 1).align()
	return w.u32(uint32(no)).Bytes()
}
