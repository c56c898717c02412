package kernel

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"rbee/inference/quant"
)

// Whatever a file holds, every path gives the bits of plain Go: weights and
// activations that are infinite, denormal or no numbers among them.
func FuzzMul(f *testing.F) {
	r := rand.New(rand.NewPCG(25, 26))
	for _, typ := range quant.Types() {
		f.Add(uint32(typ), uint8(3), uint8(5), blocks(typ, 3, max(typ.Block(), 32), r), []byte{0, 0, 128, 63, 0, 0, 192, 255})
	}
	f.Fuzz(func(t *testing.T, number uint32, rows, columns uint8, file, x []byte) {
		typ := quant.Type(number)
		n, cols := int(rows%40)+1, int(columns%6)+1
		if !typ.Known() || len(x) < 4 {
			return
		}
		k := len(file) / n / typ.BlockBytes() * typ.Block()
		if k == 0 || k > 1024 {
			return
		}
		m, err := Pack(typ, file[:n*typ.RowBytes(k)], n, k)
		if err != nil {
			t.Fatal(err)
		}
		columnsOf := make([]Act, cols)
		for c := range columnsOf {
			values := make([]float32, k)
			for i := range values {
				at := 4 * ((i*7 + c) % (len(x) / 4))
				values[i] = math.Float32frombits(binary.LittleEndian.Uint32(x[at:]))
			}
			a, _ := act(typ, values)
			columnsOf[c] = *a
		}
		mulAlike(t, m, columnsOf)
	})
}
