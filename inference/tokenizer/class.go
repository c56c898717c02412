package tokenizer

import (
	"sync"
	"unicode"
)

// A class is what a character is to the splits: one of the categories of
// Unicode 15.1, or none for an unassigned one, and blank besides for white space.
type class uint8

const (
	num   class = 1 << iota // \p{N}
	let                     // \p{L}
	mark                    // \p{M}
	punct                   // \p{P}
	sym                     // \p{S}
	ctl                     // \p{C} without the unassigned ones
	blank                   // \s
)

// classTables are the categories by Go's tables, which are of Unicode 15.0.
var classTables = []struct {
	class class
	table *unicode.RangeTable
}{
	{num, unicode.N},
	{let, unicode.L},
	{mark, unicode.M},
	{punct, unicode.P},
	{sym, unicode.S},
	{ctl, unicode.Cc},
	{ctl, unicode.Cf},
	{ctl, unicode.Co},
	{ctl, unicode.Cs},
	{blank, unicode.White_Space},
}

// newer is what Unicode 15.1 has added.
var newer = []struct {
	from, to rune
	class    class
}{{0x2ffc, 0x2fff, sym}, {0x31ef, 0x31ef, sym}, {0x2ebf0, 0x2ee5d, let}}

// classes is the class of every character. It is made when the first text is
// split, in about two milliseconds.
var classes = sync.OnceValue(func() []class {
	all := make([]class, unicode.MaxRune+1)
	for _, c := range classTables {
		for _, r := range c.table.R16 {
			for i := rune(r.Lo); i <= rune(r.Hi); i += rune(r.Stride) {
				all[i] |= c.class
			}
		}
		for _, r := range c.table.R32 {
			for i := rune(r.Lo); i <= rune(r.Hi); i += rune(r.Stride) {
				all[i] |= c.class
			}
		}
	}
	for _, r := range newer {
		for i := r.from; i <= r.to; i++ {
			all[i] = r.class
		}
	}
	return all
})

// han tells whether a character is in one of the blocks of Chinese characters
// that Kimi's split knows, assigned or not.
func han(r rune) bool {
	switch {
	case r < 0x3400:
		return false
	case r <= 0x4dbf, r >= 0x4e00 && r <= 0x9fff, r >= 0xf900 && r <= 0xfaff:
		return true
	case r >= 0x20000 && r <= 0x2a6df, r >= 0x2a700 && r <= 0x2ebef, r >= 0x2f800 && r <= 0x2fa1f:
		return true
	}
	return false
}

// A set is a list of ranges of characters: from, to, from, to.
type set []rune

// setOf reads what stands in the brackets of a regular expression, without
// escapes: "A-Za-z0". A '-' at the end stands for itself.
func setOf(spec string) set {
	var s set
	runes := []rune(spec)
	for i := 0; i < len(runes); i++ {
		from, to := runes[i], runes[i]
		if i+2 < len(runes) && runes[i+1] == '-' {
			to = runes[i+2]
			i += 2
		}
		s = append(s, from, to)
	}
	return s
}

func (s set) has(r rune) bool {
	for i := 0; i < len(s); i += 2 {
		if r >= s[i] && r <= s[i+1] {
			return true
		}
	}
	return false
}
