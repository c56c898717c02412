package guide

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

func all(string) bool { return true }

func load(t *testing.T) (topics []*Topic, same map[string]string) {
	t.Helper()
	topics, same, err := parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return topics, same
}

func TestHelp(t *testing.T) {
	g := New(all)
	tests := map[string]string{ // question: what the help must hold
		"how do I add a machine?":                          "- `rbee node add NAME` checks",
		"add box hydra to my cluster":                      "- `rbee node add hydra` checks a machine and adds it to your pool. `ssh hydra` must",
		"please remove saturn from the pool":               "- `rbee node rm saturn` ",
		"load qwen3:4b on jupiter":                         "- `rbee load --node jupiter qwen3:4b` ",
		"does hf:foo/bar-GGUF:Q4_K_M fit on titan9?":       "- `rbee where --node titan9 hf:foo/bar-GGUF:Q4_K_M` ",
		"import ~/models/foo-7b.gguf":                      "- `rbee model import ~/models/foo-7b.gguf` ",
		"logs of worker w-3fa2 please":                     "- `rbee logs --worker w-3fa2` ",
		"limit answers to 77 tokens with gemma3:1b":        "- `rbee infer --max-tokens 77 --model gemma3:1b \"hello\"` ",
		"I already have a .gguf in my Downloads folder":    "- `rbee model import FILE` ",
		"hwo do i ad a machien":                            "- `rbee node add NAME` ",
		"what is a hive?":                                  "- A hive looks after one machine",
		"hello":                                            "- Hello!",
		"what is the capital of France?":                   "- nothing fits",
		"how do I add a table in latex?":                   "- nothing fits",
		"":                                                 "- nothing fits",
		"the host key of pluto changed, I reinstalled it":  "- `ssh-keygen -R pluto` ",
		"which models are loaded right now?":               "- `rbee ps` ",
		"ask qwen3:4b something on the machine called ida": "- `rbee infer --node ida --model qwen3:4b \"hello\"` ",
	}
	for q, want := range tests {
		if got := g.Help(q); !strings.HasPrefix(got, head+"\n") || !strings.Contains(got, want) {
			t.Errorf("%q: got %q, want it to hold %q", q, got, want)
		}
	}
}

// What the program cannot do yet is said, and no other sentence names it.
func TestHelpNotBuilt(t *testing.T) {
	g := New(func(c string) bool { return !strings.Contains(c, "node add") && !strings.Contains(c, "--node") })
	tests := map[string]string{
		"add box hydra to my cluster": "- `rbee node add hydra` is not built yet; it checks a machine and adds it to your pool.",
		"load qwen3:4b on jupiter":    "- `rbee load qwen3:4b` loads",
		"how do I get started?":       "with a model that you have.",
	}
	for q, want := range tests {
		if got := g.Help(q); !strings.Contains(got, want) {
			t.Errorf("%q: got %q, want %q", q, got, want)
		}
	}
	if got := g.Help("how do I get started?"); strings.Contains(got, "node add") {
		t.Errorf("%q names what is not built", got)
	}
}

// harm is what the wrong answer must not name.
var harm = regexp.MustCompile(`node rm|model rm|model gc|rbee unload|rbee stop|hive stop|--accept-new|ssh-keygen|token new|0\.0\.0\.0|rbee install`)

// What does harm stands in no topic but those marked so, and these must win clearly.
func TestHarm(t *testing.T) {
	topics, _ := load(t)
	for _, topic := range topics {
		if said := topic.Do + " " + strings.Join(topic.More, " "); harm.MatchString(said) && !topic.Risky {
			t.Errorf("topic %s is not marked, and says %q", topic.Name, said)
		}
	}
	g := New(all)
	for _, q := range []string{"delete it", "remove", "which of my machines has the most free memory?", "take NODE into the pool", "is it gone?"} {
		if got := g.Help(q); harm.MatchString(got) {
			t.Errorf("%q: %q", q, got)
		}
	}
}

// Of the examples of the help, one in five left out, so many are found by the others. They are as different as they could be made: questions do better.
func TestFoundAgain(t *testing.T) {
	if testing.Short() {
		t.Skip("slow under the race detector")
	}
	const fold, least = 5, 0.55
	topics, same := load(t)
	rest := make([]*Topic, len(topics))
	left := map[string]int{} // example: its topic
	for i, topic := range topics {
		copied := *topic
		copied.Asks = nil
		for n, a := range topic.Asks {
			if n%fold == 0 {
				left[a] = i
			} else {
				copied.Asks = append(copied.Asks, a)
			}
		}
		rest[i] = &copied
	}
	f, found := newFinder(rest, same), 0
	for a, i := range left {
		if f.rank(f.words.read(a))[0].topic == rest[i] {
			found++
		}
	}
	share := float64(found) / float64(len(left))
	t.Logf("%d of %d, %.1f %%", found, len(left), 100*share)
	if share < least {
		t.Errorf("only %.1f %% of the examples are found by the others", 100*share)
	}
}

func FuzzHelp(f *testing.F) {
	for _, q := range []string{"how do I add a machine?", "add box hydra", "\x00", "~/x.gguf", "hf:a/b:Q4_K_M `x` [y]", "ſ ß İ", strings.Repeat("é", longest)} {
		f.Add(q)
	}
	g := New(all)
	f.Fuzz(func(t *testing.T, q string) {
		got := g.Help(q)
		if n := strings.Count(got, "\n"); !strings.HasPrefix(got, head+"\n- ") || n > 2 || got != g.Help(q) {
			t.Errorf("%q: %q", q, got)
		}
		if utf8.ValidString(q) && !utf8.ValidString(got) {
			t.Errorf("%q: no text: %q", q, got)
		}
	})
}
