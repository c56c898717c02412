package quant

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"testing"
)

// ggml's own values of the same blocks, half of them random bits so that every code occurs.
func TestDecode(t *testing.T) {
	for _, typ := range Types() {
		exact := typ.Block() == 1
		t.Run(typ.String(), func(t *testing.T) {
			blocks, err := os.ReadFile("testdata/" + typ.String() + ".blocks.bin")
			if err != nil {
				t.Fatal(err)
			}
			raw, err := os.ReadFile("testdata/" + typ.String() + ".f32.bin")
			if err != nil {
				t.Fatal(err)
			}
			want := make([]float32, len(raw)/4)
			if err := binary.Read(bytes.NewReader(raw), binary.LittleEndian, want); err != nil {
				t.Fatal(err)
			}
			got := make([]float32, len(want))
			typ.Decode(got, blocks)
			for i := range got {
				g, w := float64(got[i]), float64(want[i])
				same := math.Float32bits(got[i]) == math.Float32bits(want[i]) || math.IsNaN(g) && math.IsNaN(w)
				if !same && (exact || !(math.Abs(g-w) <= 1e-6*math.Abs(w))) {
					t.Fatalf("value %d: got %v, want %v", i, g, w)
				}
			}
		})
	}
}

func TestHalf(t *testing.T) {
	for h := range 1 << 16 {
		f := FromHalf(uint16(h))
		if f != f {
			continue
		}
		if back := ToHalf(f); back != uint16(h) {
			t.Fatalf("%#04x is %v, which is %#04x", h, f, back)
		}
	}
	for f, want := range map[float32]uint16{1e9: 0x7c00, -1e9: 0xfc00, 65519: 0x7bff, 65520: 0x7c00, 1 + 0x1p-11: 0x3c00, 1 + 0x3p-11: 0x3c02} {
		if got := ToHalf(f); got != want {
			t.Errorf("ToHalf(%v) = %#04x, want %#04x", f, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, typ := range Types() {
		blocks, err := os.ReadFile("testdata/" + typ.String() + ".blocks.bin")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint32(typ), blocks[len(blocks)-2*typ.BlockBytes():])
	}
	f.Fuzz(func(t *testing.T, typ uint32, data []byte) {
		k := Type(typ)
		if !k.Known() {
			return
		}
		n := len(data) / k.BlockBytes()
		dst := make([]float32, n*k.Block()+1)
		dst[len(dst)-1] = 42
		k.Decode(dst[:n*k.Block()], data[:n*k.BlockBytes()])
		if dst[len(dst)-1] != 42 {
			t.Error("wrote behind the end")
		}
		if n > 0 { // a block does not depend on its neighbours
			last := make([]float32, k.Block())
			k.Decode(last, data[(n-1)*k.BlockBytes():][:k.BlockBytes()])
			for i, v := range last {
				if w := dst[(n-1)*k.Block()+i]; math.Float32bits(v) != math.Float32bits(w) {
					t.Fatalf("value %d of the last block: alone %v, in the row %v", i, v, w)
				}
			}
		}
	})
}

// Every type of the goldens is known by ggml's number, name and size.
func TestTypes(t *testing.T) {
	raw, err := os.ReadFile("testdata/index.json")
	if err != nil {
		t.Fatal(err)
	}
	var index struct {
		Types []struct {
			Type  string
			ID    Type `json:"ggml_type_id"`
			Block int  `json:"block_size"`
			Bytes int  `json:"block_bytes"`
		}
	}
	if err := json.Unmarshal(raw, &index); err != nil {
		t.Fatal(err)
	}
	if len(index.Types) != len(Types()) {
		t.Errorf("%d types, of which %d have goldens", len(Types()), len(index.Types))
	}
	for _, g := range index.Types {
		if g.ID.String() != g.Type || g.ID.Block() != g.Block || g.ID.BlockBytes() != g.Bytes {
			t.Errorf("type %d: got %v, %d values in %d bytes, want %+v", g.ID, g.ID, g.ID.Block(), g.ID.BlockBytes(), g)
		}
	}
}

// What a block is in integers is what it decodes to, and fits in the sums of kernels.
func TestUnpack(t *testing.T) {
	for _, typ := range Types() {
		blocks, err := os.ReadFile("testdata/" + typ.String() + ".blocks.bin")
		if err != nil {
			t.Fatal(err)
		}
		var v Ints
		if !typ.Unpack(&v, blocks) {
			continue
		}
		size, n := typ.BlockBytes(), typ.Block()
		want := make([]float32, n)
		for ; len(blocks) > 0; blocks = blocks[size:] {
			typ.Decode(want, blocks[:size])
			typ.Unpack(&v, blocks)
			for i, w := range want {
				got := v.D*float32(v.Scales[i/16])*float32(v.Q[i]) - float32(v.DMin*float32(v.Mins[i/16]))
				if got != w && w == w && math.Abs(float64(got-w)) > 1e-6*math.Abs(float64(w)) {
					t.Fatalf("%v: value %d: got %v, want %v", typ, i, got, w)
				}
			}
			if v.DMin != 0 && !typ.HasMins() {
				t.Fatalf("%v has minima after all", typ)
			}
		}
	}
}
