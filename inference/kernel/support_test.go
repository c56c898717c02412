package kernel

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"rbee/inference/quant"
)

func TestSupport(t *testing.T) {
	list := Support()
	if len(list) != len(quant.Types()) {
		t.Errorf("%d types listed, %d can be decoded", len(list), len(quant.Types()))
	}
	count := map[string]int{}
	for i, s := range list {
		count[s.Class.String()]++
		if i > 0 && s.Class > list[i-1].Class {
			t.Errorf("%v comes after a slower type", s.Type)
		}
		if !Packable(s.Type) {
			t.Errorf("%v cannot be packed", s.Type)
		}
	}
	if count["fast"] != 16 {
		t.Errorf("classes: %v", count)
	}
}

// The panels of types whose twin works on the file's blocks lose nothing.
func TestUnpackRow(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	for _, typ := range types {
		var v quant.Ints
		size := typ.BlockBytes()
		if !typ.Unpack(&v, make([]byte, size)) {
			continue
		}
		file := blocks(typ, PanelRows, typ.Block(), r)
		m, err := Pack(typ, file, PanelRows, typ.Block())
		if err != nil {
			t.Fatal(err)
		}
		for row := range PanelRows {
			got := make([]byte, size)
			unpackRow(typ, got, m.panel(0), row)
			if want := file[row*size:][:size]; !bytes.Equal(got, want) {
				t.Errorf("%v row %d: got %x, want %x", typ, row, got, want)
			}
		}
	}
}

// A large matrix, which is packed by several threads, is made of the same panels.
func TestPackLarge(t *testing.T) {
	const rows, k = 1000, 1024
	r := rand.New(rand.NewPCG(23, 24))
	for _, typ := range []quant.Type{quant.F32, quant.BF16, quant.Q80} {
		file := blocks(typ, rows, k, r)
		m, err := Pack(typ, file, rows, k)
		if err != nil {
			t.Fatal(err)
		}
		for p := range m.Panels() {
			n := min(PanelRows, rows-p*PanelRows)
			size := typ.RowBytes(k)
			one, err := Pack(typ, file[p*PanelRows*size:][:n*size], n, k)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(one.panel(0), m.panel(p)) {
				t.Errorf("%v: panel %d differs from one packed alone", typ, p)
			}
		}
	}
}
