package guide

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"os"
	"strconv"
)

type lr struct {
	w   []map[string]float64
	idx map[string]int
	W   [][]float32 // feature → class
	n   int
}

func env(k string, d float64) float64 {
	if v, err := strconv.ParseFloat(os.Getenv(k), 64); err == nil {
		return v
	}
	return d
}

func grams(words []string) vector {
	v := features(words)
	for _, w := range words {
		if len(w) > 4 && !slot[w] {
			for i := 0; i+4 <= len(w)+1; i++ {
				x := ("^" + w)[i : i+4]
				v["#"+x] = env("GW", 0.3)
			}
		}
	}
	return v
}

func TestLR(t *testing.T) {
	topics, same, _ := parse(text)
	const k = 5
	ok, ok2, n := 0, 0, 0
	for f := range k {
		var train []*Topic
		type qa struct {
			q    string
			want int
		}
		var test []qa
		i := 0
		for c, t := range topics {
			cc := *t
			cc.Asks = nil
			for _, a := range t.Asks {
				if i%k == f {
					test = append(test, qa{a, c})
				} else {
					cc.Asks = append(cc.Asks, a)
				}
				i++
			}
			train = append(train, &cc)
		}
		fi := newFinder(train, same, nil)
		m := trainLR(fi, train)
		for _, x := range test {
			n++
			s := m.scores(fi, x.q)
			best := 0
			for c := range s {
				if s[c] > s[best] {
					best = c
				}
			}
			if best == x.want {
				ok++
			}
			r := fi.rank(x.q)
			m := map[string]float64{}
			for _, y := range r {
				m[y.topic.Name] = y.score
			}
			b := 0
			for c := range s {
				if s[c]+env("MIX", 5)*m[topics[c].Name] > s[b]+env("MIX", 5)*m[topics[b].Name] {
					b = c
				}
			}
			if b == x.want {
				ok2++
			}
		}
	}
	fmt.Println("LR held out", float64(ok)/float64(n), "mixed", float64(ok2)/float64(n))
}

func (m *lr) vec(f *Finder, q string) map[int]float32 {
	v := grams(f.words.read(q))
	out := map[int]float32{}
	sum := 0.0
	for x, n := range v {
		if j, ok := m.idx[x]; ok {
			out[j] = float32(n)
		}
		sum += n * n
	}
	for j := range out {
		out[j] /= float32(math.Sqrt(sum))
	}
	return out
}

func (m *lr) scores(f *Finder, q string) []float64 {
	s := make([]float64, m.n)
	for j, x := range m.vec(f, q) {
		for c := range s {
			s[c] += float64(x * m.W[j][c])
		}
	}
	return s
}

func trainLR(f *Finder, topics []*Topic) *lr {
	m := &lr{idx: map[string]int{}, n: len(topics)}
	type ex struct {
		v map[int]float32
		c int
	}
	var all []ex
	for _, t := range topics {
		for _, a := range t.Asks {
			for x := range grams(f.words.read(a)) {
				if _, ok := m.idx[x]; !ok {
					m.idx[x] = len(m.idx)
				}
			}
		}
	}
	for c, t := range topics {
		for _, a := range t.Asks {
			all = append(all, ex{m.vec(f, a), c})
		}
	}
	m.W = make([][]float32, len(m.idx))
	for j := range m.W {
		m.W[j] = make([]float32, m.n)
	}
	r := rand.New(rand.NewPCG(1, 2))
	p := make([]float64, m.n)
	ep := int(env("EP", 20))
	for e := range ep {
		lr := float32(env("LR", 3)) * float32(1-float64(e)/float64(ep))
		for _, i := range r.Perm(len(all)) {
			x := all[i]
			sum := 0.0
			for c := range p {
				p[c] = 0
			}
			for j, v := range x.v {
				for c, w := range m.W[j] {
					p[c] += float64(v * w)
				}
			}
			for c := range p {
				p[c] = math.Exp(p[c])
				sum += p[c]
			}
			for c := range p {
				p[c] /= sum
			}
			p[x.c] -= 1
			for j, v := range x.v {
				w := m.W[j]
				for c := range w {
					w[c] -= lr * v * float32(p[c])
				}
			}
		}
	}
	return m
}
