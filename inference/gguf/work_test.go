package gguf

import "testing"

// Counted by hand of the shapes: a layer's matrices times the layers, what is looked up
// left out.
func TestWork(t *testing.T) {
	tests := map[string]Work{
		"llama.gguf":          {ReadBytes: 4 * (195008 - 512*64), Multiplied: 3 * (3*160*64 + 2*64*64 + 2*32*64), Head: 512 * 64},
		"llama-tied.gguf":     {ReadBytes: 4 * 186832, Multiplied: 3 * (3*160*64 + 2*128*64 + 2*32*64), Head: 512 * 64},
		"qwen2moe-small.gguf": {ReadBytes: 4 * (107232 - 512*32 - 2*3*3*48*32), Multiplied: 2 * (3*3*48*32 + 6*32 + 32 + 3*64*32 + 2*32*32 + 2*16*32), Head: 512 * 32}, // 3 of 6 experts
		"bert.gguf":           {ReadBytes: 4 * (172864 - 1000*64 - 128*64 - 2*64), Multiplied: 3 * (4*64*64 + 2*128*64)},
	}
	for name, want := range tests {
		f, err := Open("../model/testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Work(); got != want {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// What is quantised counts as such.
func TestWorkBlocks(t *testing.T) {
	f, err := Open("../model/testdata/llama-256-q8_0.gguf")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if w := f.Work(); w.Blocks != w.Multiplied+w.Head || w.Blocks == 0 {
		t.Errorf("got %+v", w)
	}
}
