package lease

import (
	"bytes"
	"cmp"
	"io"
	"strings"
	"sync"
)

// A Tail is a stderr: it remembers what the program said of its own end and
// passes everything on. It never fails, for whoever writes must not
// wait. The zero value passes nothing on.
type Tail struct {
	Log io.Writer // of all lines; may be nil

	mu    sync.Mutex // guards all below
	part  []byte     // of the line that has no end yet
	last  string     // whole line
	words string
}

const maxPart = 4 << 10 // a longer line comes in pieces

// Write takes the next bytes.
func (t *Tail) Write(p []byte) (int, error) {
	if t.Log != nil {
		_, _ = t.Log.Write(p)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.part = append(t.part, p...)
	for {
		line, rest, found := bytes.Cut(t.part, []byte("\n"))
		if !found && len(t.part) < maxPart {
			return len(p), nil
		}
		t.keep(string(line))
		t.part = bytes.Clone(rest)
	}
}

func (t *Tail) keep(line string) {
	line = strings.TrimRight(line, " \r")
	if line == "" {
		return
	}
	t.last = line
	said, ours := strings.CutPrefix(line, "Error: ")
	died := strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ")
	if ours || died && t.words == "" { // a stack follows
		t.words = said
	}
}

// Words returns what the program said of its own end: its error, its panic, or a
// last line that is none of a log. It is empty when there is nothing of the kind.
func (t *Tail) Words() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	last := cmp.Or(strings.TrimSpace(string(t.part)), t.last)
	switch {
	case t.words != "":
		return t.words
	case strings.HasPrefix(last, "time=") || strings.HasPrefix(last, "{"):
		return ""
	}
	return last
}
