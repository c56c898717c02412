// Package guide finds the help that fits a question about rbee. It is what makes
// the small model inside the program a guide: the finder picks one or two topics
// of topics.txt, the names in the question go into the slots of their help texts,
// and the model words the answer from them. No answer is made here.
//
// # Design
//
// The finder weighs words: naive Bayes over the example questions of each topic,
// and the nearest of these examples. What is likelier among questions about other
// things finds nothing. A topic whose command does harm when it is the wrong one
// must win clearly, else the guide asks back.
package guide

import (
	"slices"
	"strings"
)

// The first line of the help, and the lines that stand there when there is none.
const (
	head    = "Help of rbee:"
	nothing = "nothing fits"
	unclear = "unclear"
)

// longest is how much of a question is read.
const longest = 2000

// A Guide puts help texts before questions. It may be used by many at once.
type Guide struct {
	finder *Finder
	built  func(command string) bool
}

// New returns a guide to commands; built tells whether one exists with its flags
// in this program. What does not is said to be missing.
func New(built func(command string) bool) *Guide {
	topics, same, err := parse(text)
	if err != nil {
		panic("guide: " + err.Error())
	}
	return &Guide{newFinder(topics, same), built}
}

// Help returns the system message from which the model answers a question.
func (g *Guide) Help(question string) string {
	question = question[:min(len(question), longest)]
	masked, names := g.finder.words.names(question)
	found, sure := g.finder.Find(masked)
	lines := []string{head}
	switch {
	case !sure:
		lines = append(lines, unclear)
	case len(found) == 0:
		lines = append(lines, nothing)
	case len(found) == 1:
		lines = append(lines, g.line(found[0], names, true))
	case names.fill(found[0].Do, true) == names.fill(found[1].Do, true):
		lines = append(lines, g.line(found[0], names, true))
	default:
		for _, t := range found {
			lines = append(lines, g.line(t, names, false))
		}
	}
	return strings.Join(lines, "\n- ")
}

// line is the help of a topic, with the names in its slots; whole: with what
// there is to say further.
func (g *Guide) line(t *Topic, names naming, whole bool) string {
	var said []string
	if t.Do != "" {
		do := names.fill(t.Do, true)
		if !g.built(do) {
			do = names.fill(t.Do, false)
		}
		if !g.built(do) {
			return "`" + do + "` is not built yet; it " + t.Does + "."
		}
		said = append(said, "`"+do+"` "+t.Does+".")
	}
	for _, s := range t.More {
		if s = names.fill(s, true); whole && g.all(t, s) {
			said = append(said, s)
		}
	}
	for _, s := range t.Named {
		if whole && names.all(s) {
			said = append(said, names.fill(s, true))
		}
	}
	if len(said) == 0 {
		return nothing
	}
	return strings.Join(said, " ")
}

// Missing returns the commands in the help that this program does not have, or
// not with these flags.
func (g *Guide) Missing() []string {
	sample := naming{by: map[string]string{"NODE": "node", "MODEL": "model", "FILE": "file", "WORKER": "id", "NUMBER": "1", "ADDRESS": "127.0.0.1:8080"}}
	var out []string
	for _, t := range g.finder.topics {
		for _, do := range []string{sample.fill(t.Do, false), sample.fill(t.Do, true)} {
			if !g.built(do) && !slices.Contains(out, do) {
				out = append(out, do)
			}
		}
		for _, s := range t.More {
			for _, c := range quoted(sample.fill(s, true)) {
				if !g.exists(t, c) && !slices.Contains(out, c) {
					out = append(out, c)
				}
			}
		}
	}
	slices.Sort(out)
	return out
}

// all tells whether all commands in a sentence exist.
func (g *Guide) all(t *Topic, sentence string) bool {
	for _, c := range quoted(sentence) {
		if !g.exists(t, c) {
			return false
		}
	}
	return true
}

// exists tells whether a command does; a flag alone belongs to the topic's
// command, or to infer.
func (g *Guide) exists(t *Topic, command string) bool {
	if !strings.HasPrefix(command, "--") {
		return g.built(command)
	}
	if !strings.Contains(command, " ") {
		command += "=x" // a value, which a switch may have too
	}
	path, _, _ := strings.Cut(naming{}.fill(t.Do, false)+" -", " -")
	return path != "" && g.built(path+" "+command) || g.built("rbee infer "+command)
}
