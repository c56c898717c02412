package lease

import (
	"bytes"
	"context"
	"sync"
)

// Kept are the last lines of a log. The zero value keeps none.
type Kept struct {
	most int

	mu      sync.Mutex // guards all below
	lines   [][]byte
	first   int           // number of lines[0] among all that ever were
	part    []byte        // of the line that has no end yet
	changed chan struct{} // closed at the next line
}

// NewKept keeps so many lines.
func NewKept(most int) *Kept { return &Kept{most: most} }

// Write takes the next bytes. It never waits and does not fail.
func (k *Kept) Write(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.part = append(k.part, p...)
	for {
		line, rest, found := bytes.Cut(k.part, []byte("\n"))
		if !found && len(k.part) < maxPart {
			return len(p), nil
		}
		k.keep(bytes.Clone(line))
		k.part = bytes.Clone(rest)
	}
}

func (k *Kept) keep(line []byte) {
	if k.most == 0 {
		return
	}
	if len(k.lines) == k.most {
		k.lines, k.first = k.lines[1:], k.first+1
	}
	k.lines = append(k.lines, line)
	if k.changed != nil {
		close(k.changed)
		k.changed = nil
	}
}

// Read calls f with each line that is kept, and with follow with each that comes,
// until ctx is done or f fails. Lines that are forgotten before f has had them are
// left out.
func (k *Kept) Read(ctx context.Context, follow bool, f func(line []byte) error) error {
	for next := 0; ; {
		lines, after, changed := k.since(next)
		for _, line := range lines {
			if err := f(line); err != nil {
				return err
			}
		}
		next = after
		if !follow {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

func (k *Kept) since(n int) (lines [][]byte, next int, changed <-chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.changed == nil {
		k.changed = make(chan struct{})
	}
	from := min(max(n-k.first, 0), len(k.lines))
	return append([][]byte(nil), k.lines[from:]...), k.first + len(k.lines), k.changed
}
