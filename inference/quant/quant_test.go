package quant

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"testing"
)

// ggml's own values of the same blocks, half of them random bits so that every code occurs.
func TestDecode(t *testing.T) {
	for typ, exact := range map[Type]bool{F16: true, BF16: true, Q80: false, Q40: false, Q50: false, Q4K: false, Q5K: false, Q6K: false} {
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
	f.Add(uint32(12), make([]byte, 288))
	f.Fuzz(func(t *testing.T, typ uint32, data []byte) {
		k := Type(typ)
		if !k.Known() {
			return
		}
		n := len(data) / k.BlockBytes()
		dst := make([]float32, n*k.Block())
		k.Decode(dst, data[:n*k.BlockBytes()])
	})
}
