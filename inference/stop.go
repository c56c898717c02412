package inference

import "strings"

// stops looks for stop strings in a text that comes in pieces, and holds back
// what may be the beginning of one.
type stops struct {
	words []string
	held  string
}

func newStops(words []string) *stops { return &stops{words: words} }

// push adds text and returns what is certain. When a stop string is complete it
// is returned, too, and what stands before it is the last text.
func (s *stops) push(text string) (certain, stop string) {
	s.held += text
	first := -1
	for _, w := range s.words {
		if at := strings.Index(s.held, w); w != "" && at >= 0 && (first < 0 || at < first || at == first && len(w) > len(stop)) {
			first, stop = at, w
		}
	}
	if first >= 0 {
		certain, s.held = s.held[:first], ""
		return certain, stop
	}
	n := len(s.held) - s.maybe()
	certain, s.held = s.held[:n], s.held[n:]
	return certain, ""
}

// maybe is the length of the longest end of the held text that begins a stop string.
func (s *stops) maybe() (n int) {
	for _, w := range s.words {
		for k := min(len(w)-1, len(s.held)); k > n; k-- {
			if strings.HasSuffix(s.held, w[:k]) {
				n = k
			}
		}
	}
	return n
}

// flush returns what was held back: no stop string came of it.
func (s *stops) flush() string {
	text := s.held
	s.held = ""
	return text
}
