package tokenizer

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"

	"rbee/inference/gguf"
)

// An index finds texts by their hash. It is an open-addressed table of their
// numbers plus one, at most half full: it is made in one pass, without a string
// being copied.
type index struct {
	seed  maphash.Seed
	slots []uint32
}

// newIndex makes an index of n things by their hashes. A thing whose hash says
// no is left out.
func newIndex(n int, seed maphash.Seed, hash func(i int) (h uint64, ok bool)) index {
	size := 16
	for size < 2*n {
		size *= 2
	}
	x := index{seed, make([]uint32, size)}
	mask := uint64(size - 1)
	for i := range n {
		h, ok := hash(i)
		if !ok {
			continue
		}
		at := h & mask
		for x.slots[at] != 0 {
			at = (at + 1) & mask
		}
		x.slots[at] = uint32(i + 1)
	}
	return x
}

// find returns the first thing with the hash that is the one meant, or None.
func (x *index) find(h uint64, is func(i int) bool) int32 {
	mask := uint64(len(x.slots) - 1)
	for at := h & mask; x.slots[at] != 0; at = (at + 1) & mask {
		if i := int(x.slots[at]) - 1; is(i) {
			return int32(i)
		}
	}
	return None
}

// A vocab is the tokens, with what finds them. Of two tokens with one text the
// first is found; one without text is never.
type vocab struct {
	texts   gguf.Texts
	attrs   []attr
	ids     index
	longest int // bytes of the longest text
}

func newVocab(c *Config) *vocab {
	v := &vocab{texts: c.Tokens, attrs: make([]attr, c.Tokens.Len())}
	for i := range v.attrs {
		v.attrs[i] = normal
		if len(c.Types) > 0 {
			v.attrs[i] = attrOf(c.Types[i])
		}
	}
	seed := maphash.MakeSeed()
	v.ids = newIndex(c.Tokens.Len(), seed, func(i int) (uint64, bool) {
		text := c.Tokens.At(i)
		v.longest = max(v.longest, len(text))
		return maphash.String(seed, text), text != ""
	})
	return v
}

func (v *vocab) len() int             { return len(v.attrs) }
func (v *vocab) text(id int32) string { return v.texts.At(int(id)) }
func (v *vocab) has(id int32) bool    { return id >= 0 && int(id) < len(v.attrs) }

// find returns the token of a text, or None.
func (v *vocab) find(text string) int32 {
	return v.ids.find(maphash.String(v.ids.seed, text), func(i int) bool { return v.texts.At(i) == text })
}

// lookup is find for bytes.
func (v *vocab) lookup(text []byte) int32 {
	if len(text) > v.longest {
		return None
	}
	return v.hashed(maphash.Bytes(v.ids.seed, text), text)
}

// hashed is lookup for bytes whose hash is known.
func (v *vocab) hashed(h uint64, text []byte) int32 {
	return v.ids.find(h, func(i int) bool { return v.texts.At(i) == string(text) })
}

// A sorted list of tokens by their texts is walked byte by byte, as a tree would be.
type sorted struct {
	v   *vocab
	ids []int32
	by  [257]int32 // where the texts begin that start with a byte
}

// newSorted lists the tokens that keep takes. It takes n·log(n) steps.
func newSorted(v *vocab, keep func(attr) bool) *sorted {
	s := &sorted{v: v}
	for i, a := range v.attrs {
		if keep(a) && v.texts.At(i) != "" {
			s.ids = append(s.ids, int32(i))
		}
	}
	slices.SortFunc(s.ids, func(a, b int32) int {
		if c := strings.Compare(v.text(a), v.text(b)); c != 0 {
			return c
		}
		return int(a - b)
	})
	at := 0
	for b := range s.by {
		for at < len(s.ids) && int(v.text(s.ids[at])[0]) < b {
			at++
		}
		s.by[b] = int32(at)
	}
	return s
}

// walk calls found for each token that text begins with, the shortest first: with
// its place in ids, and its size in bytes. It returns how many bytes of text are the beginning of any token at all.
func (s *sorted) walk(text []byte, found func(k, size int)) int {
	if len(text) == 0 {
		return 0
	}
	lo, hi := int(s.by[text[0]]), int(s.by[int(text[0])+1])
	for depth := 1; lo < hi; depth++ {
		first := s.v.text(s.ids[lo])
		if len(first) == depth {
			found(lo, depth)
			for lo < hi && len(s.v.text(s.ids[lo])) == depth {
				lo++ // equal texts stand together
			}
		}
		if lo == hi || depth == len(text) {
			return depth
		}
		if lo, hi = s.narrow(lo, hi, depth, text[depth]); lo == hi {
			return depth
		}
	}
	return 0
}

// narrow returns the part of lo..hi, whose texts are longer than depth and equal
// so far, that goes on with c.
func (s *sorted) narrow(lo, hi, depth int, c byte) (int, int) {
	at := func(i int) byte { return s.v.text(s.ids[i])[depth] }
	if at(lo) == c && at(hi-1) == c {
		return lo, hi
	}
	bound := func(lo int, c int) int {
		end := hi
		for lo < end {
			if mid := (lo + end) / 2; int(at(mid)) < c {
				lo = mid + 1
			} else {
				end = mid
			}
		}
		return lo
	}
	lo = bound(lo, int(c))
	return lo, bound(lo, int(c)+1)
}

// hexByte is the byte that a token like <0x0A> spells.
func hexByte(text string) (byte, bool) {
	if len(text) != 6 || text[:3] != "<0x" || text[5] != '>' {
		return 0, false
	}
	b, err := strconv.ParseUint(text[3:5], 16, 8)
	return byte(b), err == nil
}

// byteTokens are the tokens <0x00> to <0xFF>; where one is missing, the token
// that is the byte itself, when bare is true, or None.
func (v *vocab) byteTokens(bare bool) (ids [256]int32) {
	for b := range ids {
		ids[b] = v.find(fmt.Sprintf("<0x%02X>", b))
		if ids[b] == None && bare {
			ids[b] = v.find(string([]byte{byte(b)}))
		}
	}
	return ids
}
