//go:build !purego

package kernel

// sumWords is for whole rounds of 64 words, and returns how many it took.
func sumWords(words []uint64, sums *[4]uint64) int {
	n := len(words) &^ 63
	if n == 0 || !avx512.on && !avx2.on {
		return 0
	}
	sumAVX2(&words[0], sums, n)
	return n
}

func mulAdds(counts *[16]int32, rounds int) bool {
	switch {
	case avx512.on:
		mulAddsAVX512(counts, rounds)
	case avx2.on:
		mulAddsAVX2(counts, rounds)
	default:
		return false
	}
	return true
}
