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
