package kernel

import "unsafe"

// Words returns n words in memory such as weights lie in, each another value than 0:
// pages that nobody wrote to are all the same one.
func Words(n int) []uint64 {
	words := unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(memory(8*n)))), n)
	for i := range words {
		words[i] = uint64(i + 1)
	}
	return words
}

// Sum reads all words and returns their sum. It does nothing else with them: it is as
// fast as one thread can read.
func Sum(words []uint64) (sum uint64) {
	var part [4]uint64
	for _, w := range words[sumWords(words, &part):] {
		sum += w
	}
	return sum + part[0] + part[1] + part[2] + part[3]
}

// MulAdds multiplies int8 values and adds the products up, in registers alone, with
// the best instructions in use, and returns how often. No product of weights is
// faster. rounds is 1 to MaxRounds. It is 0 where there are better instructions in
// use than it has code for.
func MulAdds(rounds int) (n int64) {
	var counts [16]int32
	if !mulAdds(&counts, rounds) && len(Paths()) == 0 {
		mulAddsGeneric(&counts, rounds)
	}
	for _, c := range counts {
		n += int64(c)
	}
	return n
}

// MaxRounds is how many rounds MulAdds can count.
const MaxRounds = 1 << 24

// factors are what plain Go multiplies: no constants, or nothing would be computed.
var factors = [16]int8{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}

func mulAddsGeneric(counts *[16]int32, rounds int) {
	x, y := factors, factors
	for range rounds {
		for i := range counts {
			counts[i] += int32(x[i]) * int32(y[i])
		}
	}
}
