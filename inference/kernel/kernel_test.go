package kernel

import (
	"encoding/binary"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"rbee/inference/quant"
)

// blocks returns random weights of a type as a file has them: every code
// occurs, scales are small and finite.
func blocks(t quant.Type, rows, k int, r *rand.Rand) []byte {
	b := make([]byte, rows*t.RowBytes(k))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	for at := 0; at < len(b); at += t.BlockBytes() {
		switch block := b[at:]; t {
		case quant.F32:
			binary.LittleEndian.PutUint32(block, math.Float32bits(float32(r.NormFloat64())))
		case quant.BF16:
			binary.LittleEndian.PutUint16(block, uint16(math.Float32bits(float32(r.NormFloat64()))>>16))
		default:
			scaleBlock(t, block, func() float32 { return float32(r.NormFloat64()) * 0.01 })
		}
	}
	return b
}

// scaleBlock sets the scales that all values of a block share.
func scaleBlock(t quant.Type, b []byte, scale func() float32) {
	at := []int{0}
	switch t {
	case quant.Q41, quant.Q51, quant.Q4K, quant.Q5K:
		at = []int{0, 2}
	case quant.Q2K:
		at = []int{80, 82}
	case quant.Q3K:
		at = []int{108}
	case quant.Q6K:
		at = []int{208}
	case quant.TQ10:
		at = []int{52}
	case quant.TQ20:
		at = []int{64}
	case quant.NVFP4:
		return
	case quant.MXFP4:
		b[0] = 110 + b[0]%16
		return
	case quant.IQ1M: // four bits each on top of the others
		h := quant.ToHalf(scale())
		for i := range 4 {
			b[49+2*i] = b[49+2*i]&15 | byte(h>>(4*i)&15<<4)
		}
		return
	}
	for _, i := range at {
		binary.LittleEndian.PutUint16(b[i:], quant.ToHalf(scale()))
	}
}

var types = quant.Types()

// act makes one column in the form that t needs, and returns what the form says x is.
func act(t quant.Type, x []float32) (*Act, []float32) {
	seen := make([]float32, len(x))
	switch KindFor(t) {
	case By32:
		a := make([]Act32, len(x)/32)
		Make32(a, x)
		for i := range seen {
			seen[i] = a[i/32].D * float32(a[i/32].Q[i%32])
		}
		return &Act{A: a}, seen
	case By256:
		a := make([]Act256, len(x)/256)
		Make256(a, x)
		for i := range seen {
			seen[i] = a[i/256].D * float32(a[i/256].Q[i%256])
		}
		return &Act{B: a}, seen
	}
	return &Act{F: x}, x
}

// The packed product is that of the decoded weights and the activations as they
// were rounded, but for the rounding of the sums.
func TestMul(t *testing.T) {
	const rows, k = 45, 512 // a panel and a part of one
	for _, typ := range types {
		t.Run(typ.String(), func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, uint64(typ)))
			file := blocks(typ, rows, k, r)
			w := make([]float32, rows*k)
			typ.Decode(w, file)
			x := make([]float32, k)
			for i := range x {
				x[i] = float32(r.NormFloat64())
			}
			m, err := Pack(typ, file, rows, k)
			if err != nil {
				t.Fatal(err)
			}
			a, seen := act(typ, x)
			got := make([]float32, m.Padded())
			for p := range m.Panels() {
				m.Mul(got[p*PanelRows:], p, a)
			}
			for row := range rows {
				var want, size float64
				for i, v := range seen {
					want += float64(w[row*k+i]) * float64(v)
					size += math.Abs(float64(w[row*k+i]) * float64(v))
				}
				if diff := math.Abs(float64(got[row]) - want); !(diff <= 1e-5*size) {
					t.Errorf("row %d: got %v, want %v", row, got[row], want)
				}
			}
			for row := rows; row < m.Padded(); row++ {
				if got[row] != 0 && KindFor(typ) == Float {
					t.Errorf("padding row %d: %v", row, got[row])
				}
			}
		})
	}
}

func TestPackRefuses(t *testing.T) {
	for name, f := range map[string]func() error{
		"unknown type":   func() error { _, err := Pack(99, make([]byte, 64), 1, 32); return err },
		"half a block":   func() error { _, err := Pack(quant.Q80, make([]byte, 34), 1, 33); return err },
		"too few bytes":  func() error { _, err := Pack(quant.Q80, make([]byte, 33), 1, 32); return err },
		"no rows at all": func() error { _, err := Pack(quant.F32, nil, 0, 32); return err },
	} {
		if f() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestFMA(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 200_000 {
		f := func() float32 {
			return math.Float32frombits(r.Uint32()&0x807fffff | uint32(100+r.IntN(56))<<23)
		}
		a, b, c := f(), f(), f()
		exact := new(big.Float).SetPrec(400).Mul(big.NewFloat(float64(a)), big.NewFloat(float64(b)))
		want, _ := exact.Add(exact, big.NewFloat(float64(c))).Float32()
		if got := fma32(a, b, c); got != want {
			t.Fatalf("fma32(%v, %v, %v) = %v, want %v", a, b, c, got, want)
		}
	}
}

func TestExp(t *testing.T) {
	worst := 0.0
	for x := float32(-87.3); x < 88.3; x += 0.0137 {
		want := math.Exp(float64(x))
		ulp := float64(math.Nextafter32(float32(want), math.MaxFloat32) - float32(want))
		worst = max(worst, math.Abs(float64(exp32(x))-want)/ulp)
	}
	if worst > 2 {
		t.Errorf("off by %v units in the last place", worst)
	}
	if exp32(-100) != 0 || exp32(float32(math.NaN())) != 0 || exp32(0) != 1 {
		t.Errorf("ends: %v, %v, %v", exp32(-100), exp32(float32(math.NaN())), exp32(0))
	}
}

func TestNormAndSilu(t *testing.T) {
	x, w, dst := make([]float32, 100), make([]float32, 100), make([]float32, 100)
	var square float64
	for i := range x {
		x[i], w[i] = float32(i)-40, float32(i)/50
		square += float64(x[i]) * float64(x[i])
	}
	RMSNorm(dst, x, w, 1e-5)
	for i := range x {
		want := float64(x[i]) / math.Sqrt(square/100+1e-5) * float64(w[i])
		if math.Abs(float64(dst[i])-want) > 1e-6*math.Abs(want)+1e-9 {
			t.Errorf("norm of %v: got %v, want %v", x[i], dst[i], want)
		}
	}
	SiluMul(dst, x, w)
	for i := range x {
		want := float64(x[i]) / (1 + math.Exp(-float64(x[i]))) * float64(w[i])
		if math.Abs(float64(dst[i])-want) > 1e-6*math.Abs(want)+1e-12 {
			t.Errorf("silu of %v: got %v, want %v", x[i], dst[i], want)
		}
	}
}

func BenchmarkMul(b *testing.B) {
	const rows, k = 512, 2048
	r := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, k)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	for _, typ := range types {
		b.Run(typ.String(), func(b *testing.B) {
			m, err := Pack(typ, blocks(typ, rows, k, r), rows, k)
			if err != nil {
				b.Fatal(err)
			}
			a, _ := act(typ, x)
			dst := make([]float32, m.Padded())
			b.SetBytes(m.Bytes())
			for b.Loop() {
				for p := range m.Panels() {
					m.Mul(dst[p*PanelRows:], p, a)
				}
			}
		})
	}
}

func BenchmarkPack(b *testing.B) {
	const rows, k = 512, 2048
	r := rand.New(rand.NewPCG(1, 2))
	for _, typ := range types {
		b.Run(typ.String(), func(b *testing.B) {
			file := blocks(typ, rows, k, r)
			b.SetBytes(int64(len(file)))
			for b.Loop() {
				if _, err := Pack(typ, file, rows, k); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
