package gguf

import (
	"path/filepath"
	"testing"
)

// Every model that the engine's tests have gives a figure, of the right size.
func TestNeedsOfModels(t *testing.T) {
	files, err := filepath.Glob("../model/testdata/*.gguf")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		f, err := Open(name)
		if err != nil {
			t.Fatal(err)
		}
		one, err := f.Needs(128, 1)
		four, err4 := f.Needs(128, 4)
		if err != nil || err4 != nil {
			t.Errorf("%s: %v, %v", name, err, err4)
		}
		if one.Weights < f.Size()/4 || one.Weights > 2*f.Size() || one.KV <= 0 || four.KV != 4*one.KV || one.Compute <= 0 {
			t.Errorf("%s of %d bytes: %+v, with four slots %+v", name, f.Size(), one, four)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// unusual is a file of an architecture with the given keys and no tensors.
func unusual(arch string, keys map[string]uint32, lists map[string][]uint32) []byte {
	w := new(writer).header(3, 0, uint64(1+len(keys)+len(lists)))
	w.str("general.architecture").u32(8).str(arch)
	for k, v := range keys {
		w.str(arch + "." + k).u32(4).u32(v)
	}
	for k, list := range lists {
		w.str(arch + "." + k).u32(9).u32(4).u64(uint64(len(list)))
		for _, v := range list {
			w.u32(v)
		}
	}
	return w.Bytes()
}

func TestNeedsOfUnusualFiles(t *testing.T) {
	tests := map[string]struct {
		keys  map[string]uint32
		lists map[string][]uint32
		kv    int64 // for 64 tokens
	}{
		"little is said":    {map[string]uint32{"block_count": 2}, nil, 0},
		"no feed forward":   {map[string]uint32{"block_count": 2, "embedding_length": 64, "attention.head_count": 4}, nil, 64 * 2 * 2 * 64 * 4},
		"grouped":           {map[string]uint32{"block_count": 2, "embedding_length": 64, "attention.head_count": 4, "attention.head_count_kv": 1}, nil, 64 * 2 * 2 * 16 * 4},
		"lengths":           {map[string]uint32{"block_count": 1, "embedding_length": 64, "attention.head_count": 4, "attention.key_length": 32, "attention.value_length": 8}, nil, 64 * 4 * 40 * 4},
		"layers that vary":  {map[string]uint32{"block_count": 3, "embedding_length": 64, "attention.head_count": 4}, map[string][]uint32{"attention.head_count_kv": {4, 0, 2}, "feed_forward_length": {8, 16, 0}}, 64 * 6 * 32 * 4},
		"a list too short":  {map[string]uint32{"block_count": 3, "embedding_length": 64}, map[string][]uint32{"attention.head_count": {4}}, 64 * 3 * 2 * 64 * 4},
		"no heads":          {map[string]uint32{"block_count": 2, "embedding_length": 64, "attention.head_count": 0}, nil, 0},
		"values beyond any": {map[string]uint32{"block_count": 1, "attention.head_count": 1 << 31, "attention.key_length": 1}, nil, 64 * 2 * maxDimension * 4},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f, err := Parse(unusual("x", tt.keys, tt.lists))
			if err != nil {
				t.Fatal(err)
			}
			n, err := f.Needs(64, 1)
			if err != nil || n.KV != tt.kv {
				t.Errorf("got %+v, %v; want a cache of %d", n, err, tt.kv)
			}
		})
	}
	f, err := Parse(small())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Needs(64, 1); err == nil {
		t.Error("a model without layers has needs")
	}
}

// The experts' buffers are for those that are used, not for a whole model's MLP.
func TestNeedsPerExpert(t *testing.T) {
	needs := func(keys map[string]uint32) Needs {
		f, err := Parse(unusual("x", keys, nil))
		if err != nil {
			t.Fatal(err)
		}
		n, err := f.Needs(64, 1)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	keys := map[string]uint32{"block_count": 1, "embedding_length": 64, "attention.head_count": 4, "feed_forward_length": 8192, "expert_count": 64, "expert_used_count": 2}
	whole := needs(keys)
	keys["expert_feed_forward_length"] = 128
	if small := needs(keys); small.Compute >= whole.Compute/4 {
		t.Errorf("experts of 128 take %d, of 8192 %d", small.Compute, whole.Compute)
	}
}
