package guide

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

func folds(mk func([]*Topic, map[string]string) *Finder, k int, report bool) float64 {
	topics, same, _ := parse(text)
	ok, n := 0, 0
	for f := range k {
		var train []*Topic
		type qa struct{ q, want string }
		var test []qa
		i := 0
		for _, t := range topics {
			c := *t
			c.Asks = nil
			for _, a := range t.Asks {
				if i%k == f {
					test = append(test, qa{a, t.Name})
				} else {
					c.Asks = append(c.Asks, a)
				}
				i++
			}
			train = append(train, &c)
		}
		fi := mk(train, same)
		for _, x := range test {
			r := fi.rank(fi.words.read(x.q))
			n++
			if report {
				k := "R"
				if x.want == "nothing" {
					k = "N"
				}
				best := r[0]
				if best.topic.Name == "nothing" {
					best.score = 0
				}
				w := fi.words.read(x.q)
				fmt.Printf("SCORE %s %v %.2f %.2f %.2f %v %v %s %s %s %s\n", k, r[0].topic.Name == x.want, best.score, r[1].score, fi.odds(features(w)), r[0].topic.Risky, r[1].topic.Name == x.want, r[0].topic.Name, r[1].topic.Name, x.want, x.q)
			}
			if r[0].topic.Name == x.want {
				ok++
			} else if report {
				fmt.Printf("  %-60s want %-12s got %s %.2f, %s %.2f\n", x.q, x.want, r[0].topic.Name, r[0].score, r[1].topic.Name, r[1].score)
			}
		}
	}
	return float64(ok) / float64(n)
}

var old = map[string]string{"node_add_named": "node-add", "gpu_missing": "gpu", "temp": "temperature", "maxtok": "max-tokens", "pipe": "stdin", "rawp": "raw", "pull": "model-pull", "api_ollama": "api-other", "start_here": "begin", "howareyou": "hello", "cando": "who", "hostkey_changed": "hostkey-changed", "infer_named": "infer-node", "infer_model_named": "infer"}

func TestDev(t *testing.T) {
	mk := func(a []*Topic, b map[string]string) *Finder { return newFinder(a, b) }
	fmt.Println("held-out asks", folds(mk, 5, os.Getenv("SHOW") == "1"))
	topics, same, _ := parse(text)
	f := mk(topics, same)
	var rows [][2]string
	b, _ := os.ReadFile("/tmp/guide/old.json")
	json.Unmarshal(b, &rows)
	names := map[string]bool{}
	for _, t := range topics {
		names[t.Name] = true
	}
	ok, n, off, noff, miss := 0, 0, 0, 0, 0
	for _, r := range rows {
		if r[0] == "fallback" || r[0] == "story" || r[0] == "joke" {
			noff++
			if length(f.Find(r[1])) == 0 {
				off++
			} else if os.Getenv("SHOW") == "3" {
				m := f.rank(f.words.read(r[1]))
				fmt.Printf("  OFF %-70s %s %.2f\n", r[1], m[0].topic.Name, m[0].score)
			}
			continue
		}
		want := strings.TrimSuffix(r[0], "_named")
		if o, ok := old[r[0]]; ok {
			want = o
		} else if o, ok := old[want]; ok {
			want = o
		}
		want = strings.ReplaceAll(want, "_", "-")
		if !names[want] {
			t.Fatal(want)
		}
		n++
		m := f.rank(f.words.read(r[1]))
		if m[0].topic.Name == want {
			ok++
			if length(f.Find(r[1])) == 0 {
				miss++
			}
		} else if os.Getenv("SHOW") == "2" {
			fmt.Printf("  %-70s want %-12s got %s %.2f, %s %.2f\n", r[1], want, m[0].topic.Name, m[0].score, m[1].topic.Name, m[1].score)
		}
	}
	fmt.Println("old intents", float64(ok)/float64(n), "rejected though right", float64(miss)/float64(n), "off-topic rejected", float64(off)/float64(noff))
	var hand struct {
		Commands []struct {
			Q   string
			Any []string
		}
		Offtopic []string
	}
	b, _ = os.ReadFile("/work/wt/guide/inference/embedded/train/eval/seen.json")
	json.Unmarshal(b, &hand)
	ok = 0
	for _, h := range hand.Commands {
		m := f.rank(f.words.read(h.Q))
		mq, _ := f.words.names(h.Q)
		found, _ := f.Find(mq)
		good := false
		for _, t := range found {
			text := t.Do + " " + strings.Join(t.More, " ")
			for _, a := range h.Any {
				p := true
				for _, w := range strings.Fields(a) {
					if !strings.Contains(text, w) && !strings.Contains("hydra jupiter qwen3:4b mistral:7b", w) {
						p = false
					}
				}
				good = good || p
			}
		}
		if good {
			ok++
		} else {
			fmt.Printf("HAND BAD %d %-60s %s %.2f %s %.2f want %v\n", len(found), h.Q, m[0].topic.Name, m[0].score, m[1].topic.Name, m[1].score, h.Any)
		}
	}
	offok := 0
	for _, q := range hand.Offtopic {
		if length(f.Find(q)) == 0 {
			offok++
		} else {
			m := f.rank(f.words.read(q))
			fmt.Printf("OFF BAD %-60s %s %.2f\n", q, m[0].topic.Name, m[0].score)
		}
	}
	fmt.Println("hand", ok, "of", len(hand.Commands), "off", offok, "of", len(hand.Offtopic))
}

func length(t []*Topic, sure bool) int { if !sure { return 1 }; return len(t) }

func TestAsk(t *testing.T) {
	g := New(func(string) bool { return true })
	b, _ := os.ReadFile("/tmp/guide/q.txt")
	for _, q := range strings.Split(strings.TrimSpace(string(b)), "\n") {
		m, n := g.finder.words.names(q)
		r := g.finder.rank(g.finder.words.read(m))
		fmt.Printf("%s\n   %s %v [%s %.1f %s %.1f %.2f]\n", q, strings.TrimPrefix(g.Help(q), "Help of rbee:\n"), n.by, r[0].topic.Name, r[0].score, r[1].topic.Name, r[1].score, g.finder.odds(features(g.finder.words.read(m))))
	}
}
