package guide

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// How the two measures count, and what is enough.
const (
	smoothing = 0.05 // of the counts of naive Bayes
	nearness  = 8.0  // weight of the nearest example against naive Bayes
	strange   = 1.0  // odds of a word that no example has
	tied      = 0.7  // a second topic so near to the best may be meant too
	doubtful  = -0.3 // odds above are too high for a question whose best score is little
	little    = 2.5
	much      = 7.0 // with which a topic fits whatever the odds
	safely    = 1.5 // a topic that does harm must be so far before the next
)

// A Finder finds the topics that a question is about. It does not change, and may
// be used by many at once.
type Finder struct {
	topics []*Topic
	words  *vocabulary
	counts map[string]map[int]float64 // of a feature, by topic
	totals []float64                  // of all features, by topic
	all    float64                    // of all features in all topics
	rarity map[string]float64         // of a feature: how few examples have it
	asks   []example
}

// A vector holds features of a text: words, pairs of neighbours, and four letters
// in a row.
type vector map[string]float64

type example struct {
	topic int
	v     vector
}

// A match is a topic and how well it fits.
type match struct {
	topic *Topic
	score float64
}

func newFinder(topics []*Topic, same map[string]string) *Finder {
	f := &Finder{topics: topics, words: newVocabulary(topics, same), counts: map[string]map[int]float64{}, rarity: map[string]float64{}}
	for i, t := range topics {
		for _, a := range append(slices.Clone(t.Asks), t.Does, t.Do) {
			f.asks = append(f.asks, example{i, features(f.words.read(a))})
		}
	}
	f.count()
	for _, e := range f.asks {
		f.weigh(e.v)
	}
	return f
}

// Find returns the topics that fit a question, best first: none, one or two. It is
// not sure when one that does harm fits best, but not clearly.
func (f *Finder) Find(question string) (found []*Topic, sure bool) {
	words := f.words.read(question)
	r := f.rank(words)
	best, next, odds := r[0], r[1], f.odds(features(words))
	before := best.score - next.score
	switch {
	case best.topic == f.none() || odds > 0 && best.score < much || odds > doubtful && best.score < little:
		return nil, true
	case best.topic.Risky && before < safely/2 && !next.topic.Risky && next.topic != f.none() && next.score > little:
		return []*Topic{next.topic}, true
	case best.topic.Risky && before < safely:
		return nil, false
	case before < tied && !next.topic.Risky && best.topic.Do != "" && next.topic.Do != "":
		return []*Topic{best.topic, next.topic}, true
	}
	return []*Topic{best.topic}, true
}

// none is the topic of questions about other things: the last.
func (f *Finder) none() *Topic { return f.topics[len(f.topics)-1] }

// odds is how much likelier it is that a text is about other things: above 0, more
// than even.
func (f *Finder) odds(q vector) float64 {
	sum, seen := 0.0, 0.0
	for x, n := range q {
		known, e := f.counts[x] != nil, strange
		switch {
		case strings.Contains(x, " ") || slots[x] != "" || !known && x[0] == '#':
			continue
		case !known && len(x) < 5: // a slip, most likely
			continue
		case known:
			e = f.other(x)
		}
		sum += n * e
		seen += n
	}
	return rounded(sum / max(seen, 1))
}

// rounded takes off what depends on the order in which a sum was made.
func rounded(x float64) float64 { return math.Round(x*1e6) / 1e6 }

// count counts features by topic, as naive Bayes wants it: each example counts the
// same, however long it is.
func (f *Finder) count() {
	f.totals = make([]float64, len(f.topics))
	for _, e := range f.asks {
		length := e.v.length()
		for x, n := range e.v {
			if f.counts[x] == nil {
				f.counts[x] = map[int]float64{}
			}
			f.counts[x][e.topic] += n / length
			f.totals[e.topic] += n / length
			f.all += n / length
			f.rarity[x]++
		}
	}
	for x, n := range f.rarity {
		f.rarity[x] = math.Log(1 + float64(len(f.asks))/n)
	}
}

// sum is how often a feature was counted.
func (f *Finder) sum(x string) float64 {
	sum := 0.0
	for _, n := range f.counts[x] {
		sum += n
	}
	return sum
}

// evidence is how much likelier a feature is in a topic than anywhere.
func (f *Finder) evidence(x string, topic int, sum float64) float64 {
	kinds := smoothing * float64(len(f.counts))
	return math.Log((f.counts[x][topic] + smoothing) / (f.totals[topic] + kinds) * (f.all + kinds) / (sum + smoothing))
}

// other is how much likelier a feature is in questions about other things than in
// those about rbee.
func (f *Finder) other(x string) float64 {
	last := len(f.topics) - 1
	n, total := f.counts[x][last], f.totals[last]
	return math.Log((n + 2*smoothing) / total * (f.all - total) / (f.sum(x) - n + 2*smoothing))
}

// weigh makes counts into a vector of length 1 in which rare features count more.
func (f *Finder) weigh(v vector) {
	unknown := math.Log(1 + float64(len(f.asks)))
	for x, n := range v {
		w, ok := f.rarity[x]
		switch {
		case ok:
			v[x] = n * w
		case strings.ContainsAny(x, " #"):
			delete(v, x) // a pair that nobody wrote says nothing
		default:
			v[x] = n * unknown
		}
	}
	length := v.length()
	for x := range v {
		v[x] /= length
	}
}

// rank scores all topics, best first.
func (f *Finder) rank(words []string) []match {
	q := features(words)
	out := make([]match, len(f.topics))
	length := q.length()
	for x, n := range q {
		if f.counts[x] == nil {
			continue
		}
		for i, sum := 0, f.sum(x); i < len(out); i++ {
			out[i].score += n * f.evidence(x, i, sum) / length
		}
	}
	f.weigh(q)
	nearest := make([]float64, len(f.topics))
	for _, e := range f.asks {
		nearest[e.topic] = max(nearest[e.topic], q.dot(e.v))
	}
	for i, t := range f.topics {
		out[i].topic = t
		out[i].score = rounded(out[i].score + nearness*nearest[i])
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

func (v vector) length() float64 { return math.Sqrt(max(v.dot(v), 1e-9)) }

func features(words []string) vector {
	v := vector{}
	for i, w := range words {
		v[w] = 1
		if i > 0 {
			v[words[i-1]+" "+w] = 0.5
		}
		for j := 0; len(w) > 4 && j+4 <= len(w)+1; j++ {
			v["#"+("^" + w)[j:j+4]] = 0.25
		}
	}
	return v
}
