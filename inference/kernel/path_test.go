package kernel

import (
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
)

// eachPath runs f with every vector path of this processor, one at a time. A path
// that RBEE_REQUIRE_PATHS names must be there.
func eachPath(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	for _, name := range PathNames() {
		if HasPath(name) {
			withPath(t, name, f)
		}
	}
}

// withPath is no subtest, so that fuzz tests can use it.
func withPath(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	defer UsePath(name)()
	defer func() {
		if t.Failed() {
			t.Logf("on path %s", name)
		}
	}()
	f(t)
}

func TestPathsRequired(t *testing.T) {
	for name := range strings.SplitSeq(os.Getenv("RBEE_REQUIRE_PATHS"), ",") {
		if name != "" && !HasPath(name) {
			t.Errorf("the path %s is required, and this build or processor lacks it", name)
		}
	}
}

func TestRestrict(t *testing.T) {
	was := paths
	defer func() { paths = was }()
	tests := map[string][4]bool{ // whether avx512vnni, avx2, neon-dotprod and neon are on
		"": {true, true, true, true}, "avx512vnni": {true, true, true, true}, "neon-dotprod": {true, true, true, true},
		"avx2": {false, true, false, false}, "neon": {false, false, false, true}, "generic": {},
	}
	for name, want := range tests {
		t.Setenv("RBEE_CPU", name)
		var got [4]bool
		for i, p := range []string{"avx512vnni", "avx2", "neon-dotprod", "neon"} {
			got[i] = newPath(p, true).on
			if newPath(p, false).on {
				t.Errorf("RBEE_CPU=%q turns on what the processor lacks", name)
			}
		}
		if got != want {
			t.Errorf("RBEE_CPU=%q: got %v, want %v", name, got, want)
		}
	}
}

func normal(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

func sameBits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) && (got[i] == got[i] || want[i] == want[i]) {
			t.Fatalf("%s: value %d: got %v (%#x), want %v (%#x)", what, i, got[i], math.Float32bits(got[i]), want[i], math.Float32bits(want[i]))
		}
	}
}

// Any number of columns, in any order, gives the bits of plain Go one by one.
func TestPathsMultiplyAlike(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for _, typ := range types {
		t.Run(typ.String(), func(t *testing.T) {
			for range 4 {
				rows, k := 1+r.IntN(100), typ.Block()*(1+r.IntN(max(5, 45-typ.Block())))
				m, err := Pack(typ, blocks(typ, rows, k, r), rows, k)
				if err != nil {
					t.Fatal(err)
				}
				n := 1 + r.IntN(45)
				cols := make([]Act, n)
				for i := range cols {
					a, _ := act(typ, normal(r, k))
					cols[i] = *a
				}
				mulAlike(t, m, cols)
			}
		})
	}
}

func mulAlike(t *testing.T, m *Matrix, cols []Act) {
	t.Helper()
	n := len(cols)
	want := make([]float32, n*m.Rows)
	restore := UsePath("")
	for p := range m.Panels() {
		for i := range cols {
			var out [PanelRows]float32
			m.Mul(out[:], p, &cols[i])
			copy(want[i*m.Rows+p*PanelRows:(i+1)*m.Rows], out[:])
		}
	}
	restore()
	check := func(t *testing.T) {
		got := make([]float32, n*m.Rows)
		for p := range m.Panels() {
			m.MulColumns(got, p, cols, &Scratch{})
		}
		sameBits(t, "all columns", got, want)
		slices.Reverse(cols)
		defer slices.Reverse(cols)
		some := got[:(n+1)/2*m.Rows]
		for p := range m.Panels() {
			m.MulColumns(some, p, cols[:(n+1)/2], &Scratch{})
		}
		for i := range (n + 1) / 2 {
			sameBits(t, "a part of the columns, reversed", some[i*m.Rows:][:m.Rows], want[(n-1-i)*m.Rows:][:m.Rows])
		}
	}
	check(t)
	eachPath(t, check)
}

// The largest and smallest numbers that weights and activations can have overflow nowhere.
func TestPathsMultiplyExtremes(t *testing.T) {
	for _, typ := range types {
		if typ.Block() == 1 {
			continue
		}
		const rows, k = 32, 512
		for _, fill := range []byte{0, 0x7f, 0x80, 0xff} {
			file := make([]byte, rows*typ.RowBytes(k))
			for i := range file {
				file[i] = fill
			}
			for at := 0; at < len(file); at += typ.BlockBytes() {
				scaleBlock(typ, file[at:], func() float32 { return 1 })
			}
			m, err := Pack(typ, file, rows, k)
			if err != nil {
				t.Fatal(err)
			}
			var cols []Act
			for _, v := range []float32{1, -1} {
				x := make([]float32, k)
				for i := range x {
					x[i] = v
				}
				a, _ := act(typ, x)
				b, _ := act(typ, x)
				cols = append(cols, *a, *b)
			}
			mulAlike(t, m, cols)
		}
	}
}

// odd are values that trip quick code.
var odd = []float32{0, float32(math.Copysign(0, -1)), 1, -1, 100, -100, 1e-40, -1e-40, 3e38, -3e38, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN())}

func TestPathsQuantiseAlike(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	tests := [][]float32{make([]float32, 512), normal(r, 512), normal(r, 512)}
	for _, v := range odd {
		x := normal(r, 512)
		x[7], x[300] = v, -v
		tests = append(tests, x)
	}
	for i := range tests[2] { // ties
		tests[2][i] = float32(r.IntN(9) - 4)
	}
	for _, x := range tests {
		restore := UsePath("")
		want32, want256 := make([]Act32, 16), make([]Act256, 2)
		Make32(want32, x)
		Make256(want256, x)
		restore()
		eachPath(t, func(t *testing.T) {
			a, b := make([]Act32, 16), make([]Act256, 2)
			Make32(a, x)
			Make256(b, x)
			for i := range a {
				sameBits(t, "scale", []float32{a[i].D}, []float32{want32[i].D})
				a[i].D = want32[i].D // NaN is not equal to itself
				if a[i] != want32[i] && want32[i].D == want32[i].D {
					t.Errorf("block %d: got %+v, want %+v", i, a[i], want32[i])
				}
			}
			for i := range b {
				sameBits(t, "scale", []float32{b[i].D}, []float32{want256[i].D})
				b[i].D = want256[i].D
				if b[i] != want256[i] && want256[i].D == want256[i].D {
					t.Errorf("block %d: got %+v, want %+v", i, b[i], want256[i])
				}
			}
		})
	}
}

// elementwise returns what every elementwise kernel makes of the same input.
func elementwise(n int) map[string][]float32 {
	r := rand.New(rand.NewPCG(15, uint64(n)))
	out := map[string][]float32{}
	x, y := normal(r, n), normal(r, n)
	for i := range x {
		x[i] *= 30
	}
	for i, v := range odd {
		if 3*i < n {
			x[3*i] = v
		}
	}
	e := slices.Clone(x)
	out["sum of exponentials"] = append([]float32{ExpSum(e, 40)}, e...)
	for name, f := range map[string]func(dst, x []float32){
		"silu": Silu, "gelu": Gelu,
		"silu times": func(dst, x []float32) { SiluMul(dst, x, y) },
		"gelu times": func(dst, x []float32) { GeluMul(dst, x, y) },
	} {
		out[name] = make([]float32, n)
		f(out[name], x)
	}
	norm := make([]float32, n)
	RMSNorm(norm, y, x, 1e-5)
	out["norm"] = norm
	out["largest"] = []float32{Max(x), Max(y), Max(x[:min(n, 3)]), Max(odd[:2])}
	sum := slices.Clone(y)
	Add(sum, x)
	out["sum"] = sum
	turned := slices.Clone(y)
	RopePairs(turned, x[:n&^1])
	out["rope"] = turned
	split := slices.Clone(y)
	RopeSplit(split, x[:n&^1])
	out["rope split"] = split
	capped := slices.Clone(x)
	Squash(capped, 0.25, 3)
	out["squash"] = capped
	halves := MakeLines(n, true)
	halves.Set(0, x)
	for i := range x {
		out["half"] = append(out["half"], halves.one(i))
	}
	for _, dim := range []int{1, 16, 72, 128} {
		for queries := 1; queries <= Queries; queries++ {
			out["attention"] = append(out["attention"], attention(r, true, queries, dim, 1+n%64)...)
			out["attention in float32"] = append(out["attention in float32"], attention(r, false, queries, dim, 1+n%64)...)
		}
	}
	return out
}

// attention returns scores and values of some queries over some tokens.
func attention(r *rand.Rand, half bool, queries, dim, tokens int) (all []float32) {
	const page = 64
	k, v := MakeLines(dim*page, half), MakeLines(tokens*dim, half)
	k.Set(0, normal(r, dim*page))
	v.Set(0, normal(r, tokens*dim))
	var s, q, values [][]float32
	for range queries {
		s, q, values = append(s, make([]float32, page)), append(q, normal(r, dim)), append(values, normal(r, dim))
	}
	Scores(s, q, k, page, tokens, 0.125)
	for j := range s {
		s[j] = s[j][:tokens]
		all = append(all, s[j]...)
	}
	Values(values, s, v, dim)
	for j := range values {
		all = append(all, values[j]...)
	}
	return all
}

func TestMax(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	check := func(t *testing.T) {
		for at := range 40 {
			x := make([]float32, 40)
			for i := range x {
				x[i] = -float32(i) - 1
			}
			for _, v := range []float32{5, inf, 0, nan} {
				x[at] = v
				if got := Max(x); got != v && v == v || v != v && got == got {
					t.Errorf("%v at %d: got %v", v, at, got)
				}
			}
		}
		if got := Max(nil); got != -inf {
			t.Errorf("of nothing: %v", got)
		}
	}
	check(t)
	eachPath(t, check)
}

func TestPathsElementwiseAlike(t *testing.T) {
	for _, n := range []int{1, 15, 16, 17, 31, 32, 33, 47, 100, 256} {
		restore := UsePath("")
		want := elementwise(n)
		restore()
		eachPath(t, func(t *testing.T) {
			for what, got := range elementwise(n) {
				sameBits(t, what, got, want[what])
			}
		})
	}
}

func TestMultiplyAllocatesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 18))
	for _, typ := range types {
		m, err := Pack(typ, blocks(typ, 32, 256, r), 32, 256)
		if err != nil {
			t.Fatal(err)
		}
		a, _ := act(typ, normal(r, 256))
		cols, dst := slices.Repeat([]Act{*a}, 19), make([]float32, 19*32)
		var scratch Scratch
		if n := testing.AllocsPerRun(3, func() { m.MulColumns(dst, 0, cols, &scratch); m.Mul(dst, 0, a) }); n != 0 {
			t.Errorf("%v: %v allocations", typ, n)
		}
	}
}

func BenchmarkMulColumns(b *testing.B) {
	const rows, k, n = 128, 2048, 64
	r := rand.New(rand.NewPCG(1, 2))
	for _, typ := range types {
		b.Run(typ.String(), func(b *testing.B) {
			m, err := Pack(typ, blocks(typ, rows, k, r), rows, k)
			if err != nil {
				b.Fatal(err)
			}
			cols, dst := make([]Act, n), make([]float32, n*rows)
			var scratch Scratch
			for i := range cols {
				a, _ := act(typ, normal(r, k))
				cols[i] = *a
			}
			for b.Loop() {
				for p := range m.Panels() {
					m.MulColumns(dst, p, cols, &scratch)
				}
			}
			b.ReportMetric(2*rows*k*n*float64(b.N)/b.Elapsed().Seconds()/1e9, "GOPS")
		})
	}
}

func BenchmarkQuantise(b *testing.B) {
	x := normal(rand.New(rand.NewPCG(1, 2)), 2048)
	b.Run("32", func(b *testing.B) {
		dst := make([]Act32, len(x)/32)
		for b.Loop() {
			Make32(dst, x)
		}
	})
	b.Run("256", func(b *testing.B) {
		dst := make([]Act256, len(x)/256)
		for b.Loop() {
			Make256(dst, x)
		}
	})
}

func BenchmarkElementwise(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	x, y, dst := normal(r, 2048), normal(r, 2048), make([]float32, 2048)
	keys := MakeLines(128*32, true)
	keys.Set(0, normal(r, 128*32))
	four := [][]float32{x[:128], x[128:256], x[256:384], x[384:512]}
	s := [][]float32{y[:32], y[32:64], y[64:96], y[96:128]}
	dst4 := [][]float32{dst[:128], dst[128:256], dst[256:384], dst[384:512]}
	for name, f := range map[string]func(){
		"exp":     func() { copy(dst, x); ExpSum(dst, 3) },
		"silu":    func() { SiluMul(dst, x, y) },
		"gelu":    func() { GeluMul(dst, x, y) },
		"norm":    func() { RMSNorm(dst, x, y, 1e-5) },
		"max":     func() { Max(x) },
		"add":     func() { Add(dst, x) },
		"rope":    func() { copy(dst, x); RopePairs(dst, y) },
		"scores1": func() { Scores(s[:1], four[:1], keys, 32, 32, 1) },
		"scores4": func() { Scores(s, four, keys, 32, 32, 1) },
		"values1": func() { Values(dst4[:1], s[:1], keys, 128) },
		"values4": func() { Values(dst4, s, keys, 128) },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				f()
			}
		})
	}
}
