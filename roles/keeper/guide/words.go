package guide

import (
	"regexp"
	"strings"
)

// A vocabulary reads text as words that mean the same when they are the same.
type vocabulary struct {
	same  map[string]string   // word → the one that stands for it
	known map[string]bool     // all words of the topics' examples
	ours  map[string]bool     // those of examples about rbee
	other map[string]bool     // those of examples about other things alone
	grams map[string][]string // three letters → the known words that have them
}

var wordPattern = regexp.MustCompile(`[\p{L}\p{N}_][\p{L}\p{N}_+#/.'’-]*[\p{L}\p{N}_+#]|[\p{L}\p{N}_]`)

func newVocabulary(topics []*Topic, same map[string]string) *vocabulary {
	v := &vocabulary{same: map[string]string{}, known: map[string]bool{}, ours: map[string]bool{}, other: map[string]bool{}, grams: map[string][]string{}}
	for w, first := range same {
		v.know(w)
		v.ours[stem(w)] = true
		v.same[w], v.same[stem(w)] = first, first
	}
	for i, t := range topics {
		for _, a := range t.Asks {
			for _, w := range split(a) {
				v.know(w)
				if w = stem(w); i < len(topics)-1 {
					v.ours[w] = true
				} else if !v.ours[w] {
					v.other[w] = true
				}
			}
		}
	}
	return v
}

func (v *vocabulary) know(w string) {
	if w = stem(w); v.known[w] {
		return
	}
	v.known[w] = true
	for _, g := range trigrams(w) {
		v.grams[g] = append(v.grams[g], w)
	}
}

// read returns the words of a text without articles, each as the one that stands
// for it; what looks like a slip of a known word is taken for that.
func (v *vocabulary) read(s string) []string {
	var out []string
	for _, w := range v.parts(split(s)) {
		if articles[w] {
			continue
		}
		if same, ok := v.same[w]; ok {
			out = append(out, same)
			continue
		}
		w = stem(w)
		if !v.known[w] {
			w = v.nearest(w, slip)
		}
		if same, ok := v.same[w]; ok {
			w = same
		}
		out = append(out, w)
	}
	return out
}

// parts takes words with hyphens that nobody knows apart.
func (v *vocabulary) parts(words []string) []string {
	var out []string
	for _, w := range words {
		if strings.Contains(w, "-") && !v.known[stem(w)] {
			out = append(out, strings.Split(w, "-")...)
		} else {
			out = append(out, w)
		}
	}
	return out
}

var articles = map[string]bool{"the": true, "a": true, "an": true, "my": true, "please": true, "some": true, "of": true, "our": true}

var apostrophes = strings.NewReplacer("’", "'", "'s", "")

func split(s string) []string {
	words := wordPattern.FindAllString(s, -1)
	for i, w := range words {
		if slots[w] == "" {
			w = strings.ToLower(w)
		}
		words[i] = apostrophes.Replace(w)
	}
	return words
}

// stem takes the commonest endings off.
func stem(w string) string {
	for _, end := range []string{"ing", "ed", "es", "s", "ly"} {
		if root, ok := strings.CutSuffix(w, end); ok && len(root) >= 3 && !strings.HasSuffix(root, "s") {
			if n := len(root); end[0] != 's' && root[n-1] == root[n-2] {
				root = root[:n-1]
			}
			w = root
			break
		}
	}
	if len(w) > 3 {
		w = strings.TrimSuffix(w, "e")
	}
	return w
}

// slip is how much alike a word and one that is known must be to be the same: the
// share of groups of three letters that both have.
const slip = 0.55

// nearest returns the known word that is most alike to a word of at least five
// letters, and at least so much, or the word itself.
func (v *vocabulary) nearest(w string, alike float64) string {
	if len(w) < 5 || slots[w] != "" {
		return w
	}
	if k := v.mistyped(w); k != "" {
		return k
	}
	own, shared := trigrams(w), map[string]int{}
	for _, g := range own {
		for _, k := range v.grams[g] {
			shared[k]++
		}
	}
	best, most := w, alike
	for k, n := range shared {
		if s := 2 * float64(n) / float64(len(own)+len(trigrams(k))); s > most || s == most && k < best {
			best, most = k, s
		}
	}
	return best
}

// mistyped returns the known word that a word is with two neighbours changed over,
// a letter too many or too few, or another one; "" when there is none.
func (v *vocabulary) mistyped(w string) string {
	best := ""
	for k := range v.known {
		if oneSlip(w, k) && (best == "" || k < best) {
			best = k
		}
	}
	return best
}

// oneSlip tells whether two words are one slip of the hand apart.
func oneSlip(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(b)-len(a) > 1 {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	x, y := a[i:], b[i:]
	switch {
	case len(a) < len(b):
		return x == y[1:]
	case len(x) < 2:
		return true
	}
	return x[1:] == y[1:] || x[0] == y[1] && x[1] == y[0] && x[2:] == y[2:]
}

func trigrams(w string) []string {
	w = "^" + w + "$"
	var out []string
	for i := 0; i+3 <= len(w); i++ {
		out = append(out, w[i:i+3])
	}
	return out
}
