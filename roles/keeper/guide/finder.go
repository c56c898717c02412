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
	close     = 0.7  // a second topic so near to the best may be meant too
	doubtful  = -0.3 // odds above are too high for a question whose best score is little
	little    = 2.5
	much      = 7.0 // with which a topic fits whatever the odds
	safely    = 1.5 // a topic that does harm must be so far before the next
)

// A Finder finds the topics that a question is about. It does not change, and may
// be used by many at once.
type Finder struct {
	topics   []*Topic
	words    *vocabulary
	evidence map[string][]float64 // of a feature, by topic: how much likelier it is there than elsewhere
	other    map[string]float64   // of a feature: how much likelier it is in questions about other things
	rarity   map[string]float64   // of a feature: how few examples have it
	asks     []example
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
	f := &Finder{topics: topics, words: newVocabulary(topics, same), evidence: map[string][]float64{}, other: map[string]float64{}, rarity: map[string]float64{}}
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
	case before < close && !next.topic.Risky && best.topic.Do != "" && next.topic.Do != "":
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
		e, known := f.other[x]
		switch {
		case strings.Contains(x, " ") || slots[x] != "" || !known && x[0] == '#':
			continue
		case !known && len(x) < 5: // a slip, most likely
			continue
		case !known:
			e = strange
		}
		sum += n * e
		seen += n
	}
	return sum / max(seen, 1)
}

// count makes the evidence: naive Bayes, in which each example counts the same,
// however long it is.
func (f *Finder) count() {
	totals, all := make([]float64, len(f.topics)), 0.0
	for _, e := range f.asks {
		length := e.v.length()
		for x, n := range e.v {
			if f.evidence[x] == nil {
				f.evidence[x] = make([]float64, len(f.topics))
			}
			f.evidence[x][e.topic] += n / length
			totals[e.topic] += n / length
			all += n / length
			f.rarity[x]++
		}
	}
	kinds := smoothing * float64(len(f.evidence))
	for x, by := range f.evidence {
		sum := 0.0
		for _, n := range by {
			sum += n
		}
		last := len(by) - 1
		f.other[x] = math.Log((by[last] + 2*smoothing) / totals[last] * (all - totals[last]) / (sum - by[last] + 2*smoothing))
		for i, n := range by {
			by[i] = math.Log((n + smoothing) / (totals[i] + kinds) * (all + kinds) / (sum + smoothing))
		}
		f.rarity[x] = math.Log(1 + float64(len(f.asks))/f.rarity[x])
	}
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
		for i, e := range f.evidence[x] {
			out[i].score += n * e / length
		}
	}
	f.weigh(q)
	nearest := make([]float64, len(f.topics))
	for _, e := range f.asks {
		nearest[e.topic] = max(nearest[e.topic], q.dot(e.v))
	}
	for i, t := range f.topics {
		out[i].topic = t
		out[i].score += nearness * nearest[i]
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
