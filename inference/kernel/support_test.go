package kernel

import (
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
	if count["fast"] != 9 || count["integer"] != 7 {
		t.Errorf("classes: %v", count)
	}
}
