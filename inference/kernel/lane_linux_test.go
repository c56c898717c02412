//go:build amd64

package kernel

import (
	"math/rand/v2"
	"testing"
)

// BreakLane breaks one lane and nothing else, and only until the test ends.
func TestBreakLane(t *testing.T) {
	r := rand.New(rand.NewPCG(19, 20))
	typ := types[0]
	m, err := Pack(typ, blocks(typ, 64, 64, r), 64, 64)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := act(typ, normal(r, 64))
	multiply := func() []float32 {
		dst := make([]float32, 64)
		for p := range m.Panels() {
			m.MulColumns(dst, p, []Act{*a}, &Scratch{})
		}
		return dst
	}
	want := multiply()
	t.Run("broken", func(t *testing.T) {
		BreakLane(t, 7, func(m *Matrix) bool { return m.K == 64 })
		for i, v := range multiply() {
			if wrong := v != want[i]; wrong != (i%PanelRows == 7) {
				t.Errorf("row %d: got %v, whole %v", i, v, want[i])
			}
		}
	})
	sameBits(t, "mended", multiply(), want)
}
