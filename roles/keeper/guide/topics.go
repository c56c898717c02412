package guide

import (
	_ "embed" // for topics.txt
	"fmt"
	"regexp"
	"strings"
)

//go:embed topics.txt
var text string

// A Topic is something that one can ask about, with the help for it.
type Topic struct {
	Name  string
	Risky bool   // its command changes or removes something, or opens a door
	Do    string // the command, with slots for names; empty for a topic of words only
	Does  string // what the command does, behind "it"
	More  []string
	Named []string // further sentences that stand when the question named what is in them
	Asks  []string // how people ask for it
}

var backticks = regexp.MustCompile("`([^`]+)`")

// quoted returns what stands in backticks.
func quoted(s string) []string {
	var out []string
	for _, m := range backticks.FindAllStringSubmatch(s, -1) {
		out = append(out, m[1])
	}
	return out
}

// parse reads the format that the head of topics.txt explains. same maps words to
// the one that stands for them.
func parse(text string) (topics []*Topic, same map[string]string, err error) {
	same = map[string]string{}
	for n, line := range strings.Split(text, "\n") {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case key == "" || key[0] == '#':
		case key == "same":
			words := strings.Fields(value)
			for _, w := range words {
				same[w] = words[0]
			}
		case key == "topic":
			name, risky := strings.CutSuffix(value, "!")
			topics = append(topics, &Topic{Name: name, Risky: risky})
		case len(topics) == 0 || !topics[len(topics)-1].set(key, value):
			return nil, nil, fmt.Errorf("topics.txt:%d: %q belongs to no topic", n+1, key)
		}
	}
	return topics, same, nil
}

func (t *Topic) set(key, value string) bool {
	switch key {
	case "do":
		t.Do = value
	case "does":
		t.Does = value
	case "more":
		t.More = sentences(value)
	case "named":
		t.Named = sentences(value)
	case "ask":
		t.Asks = append(t.Asks, strings.Split(value, " | ")...)
	default:
		return false
	}
	return true
}

var sentenceEnd = regexp.MustCompile("[.!?] +[A-Z`]")

func sentences(s string) []string {
	var out []string
	for {
		at := sentenceEnd.FindStringIndex(s)
		if at == nil {
			return append(out, s)
		}
		out, s = append(out, s[:at[0]+1]), strings.TrimSpace(s[at[0]+1:])
	}
}
