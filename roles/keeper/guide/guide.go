// Package guide finds the help that fits a question about rbee. It is what makes
// the small model inside the program a guide: the finder picks one or two topics
// of topics.txt, puts the names of the question into their help texts, and the
// model words the answer from them. No answer is made here.
//
// # Design
//
// The finder is a classifier over words: what a topic's example questions share
// with the question, weighed by how rare each word is, once over all examples of
// the topic and once for the nearest of them. Words that no topic knows count
// against every topic, so that questions about other things find nothing. A topic
// whose command does harm when it is the wrong one must win clearly.
package guide

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// A Finder finds topics. It does not change, and may be used by many at once.
type Finder struct {
	topics []*Topic
	built  func(command string) bool
	words  *vocabulary
	rarity map[string]float64 // of a feature: log of topics over those that have it
	bags   []vector           // by topic: its features over all examples
	asks   []example
}

type vector map[string]float64

type example struct {
	topic int
	v     vector
}

// A match is a topic and how well it fits, from 0 to about 1.
type match struct {
	topic *Topic
	score float64
}

// New returns a finder over topics. built tells whether a command, such as
// "rbee node add NAME", exists with its flags in this program.
func New(built func(command string) bool) *Finder {
	topics, same, err := parse(text)
	if err != nil {
		panic("guide: " + err.Error())
	}
	return newFinder(topics, same, built)
}

func newFinder(topics []*Topic, same map[string]string, built func(string) bool) *Finder {
	f := &Finder{topics: topics, built: built, words: newVocabulary(topics, same), rarity: map[string]float64{}}
	in := map[string]map[int]bool{}
	for i, t := range topics {
		bag := vector{}
		for _, a := range t.Asks {
			v := features(f.words.read(a))
			f.asks = append(f.asks, example{i, v})
			for x, n := range v {
				bag[x] += n
				if in[x] == nil {
					in[x] = map[int]bool{}
				}
				in[x][i] = true
			}
		}
		f.bags = append(f.bags, bag)
	}
	for x, by := range in {
		f.rarity[x] = math.Log(1 + float64(len(topics))/float64(len(by)))
	}
	for i, bag := range f.bags {
		for x, n := range bag {
			bag[x] = math.Log1p(n) / math.Log1p(1)
			_ = i
		}
		f.weigh(bag)
	}
	for _, e := range f.asks {
		f.weigh(e.v)
	}
	return f
}

// weigh makes counts into weights of a vector of length 1.
func (f *Finder) weigh(v vector) {
	unknown := math.Log(1 + float64(len(f.topics)))
	sum := 0.0
	for x, n := range v {
		w, ok := f.rarity[x]
		if !ok {
			w = unknown
			if strings.Contains(x, " ") {
				w = 0 // a pair of words that nobody wrote says nothing
			}
		}
		v[x] = n * w
		sum += v[x] * v[x]
	}
	for x := range v {
		v[x] /= math.Sqrt(max(sum, 1e-9))
	}
}

// rank scores all topics, best first.
func (f *Finder) rank(question string) []match {
	q := features(f.words.read(question))
	f.weigh(q)
	out := make([]match, len(f.topics))
	for i, t := range f.topics {
		out[i] = match{t, 0.5 * q.dot(f.bags[i])}
	}
	nearest := make([]float64, len(f.topics))
	for _, e := range f.asks {
		nearest[e.topic] = max(nearest[e.topic], q.dot(e.v))
	}
	for i := range out {
		out[i].score += 0.5 * nearest[i]
	}
	slices.SortStableFunc(out, func(a, b match) int { return cmp.Compare(b.score, a.score) })
	return out
}

func (v vector) dot(w vector) float64 {
	sum := 0.0
	for x, n := range v {
		sum += n * w[x]
	}
	return sum
}

// features are the words and the pairs of neighbours.
func features(words []string) vector {
	v := vector{}
	for i, w := range words {
		v[w] = 1
		if i > 0 {
			v[words[i-1]+" "+w] = 0.5
		}
	}
	return v
}

// Find returns the topics that fit a question, best first: none, one or two.
func (f *Finder) Find(question string) []*Topic {
	r := f.rank(question)
	if r[0].score < 0.22 {
		return nil
	}
	return []*Topic{r[0].topic}
}
