package kernel

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// Every path reads every word once, whatever their number.
func TestSum(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 32))
	words := make([]uint64, 300)
	var sums []uint64
	for n := range len(words) {
		words[n] = r.Uint64()
		want := uint64(0)
		for _, w := range words[:n] {
			want += w
		}
		sums = append(sums, want)
	}
	check := func(t *testing.T) {
		for n, want := range sums {
			if got := Sum(words[:n]); got != want {
				t.Errorf("%d words: got %d, want %d", n, got, want)
			}
		}
	}
	eachPath(t, check)
	withPath(t, "", check)
}

// What the chains add up is how often they have multiplied: as often each round, and
// more often the wider the path is.
func TestMulAdds(t *testing.T) {
	each := map[string]int64{"avx512vnni": 16 * 64, "avx2": 10 * 32, "": 16}
	check := func(t *testing.T) {
		best := strings.Join(Paths(), " ")
		for _, rounds := range []int{1, 2, 1000} {
			if got, want := MulAdds(rounds), each[best]*int64(rounds); got != want {
				t.Errorf("%q: %d rounds: got %d, want %d", best, rounds, got, want)
			}
		}
	}
	eachPath(t, check)
	withPath(t, "", check)
}
