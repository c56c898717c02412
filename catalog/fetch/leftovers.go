package fetch

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"rbee/core"
)

// A Leftover is a download that was broken off.
type Leftover struct {
	Ref      core.ModelRef // "" when its state is lost
	Name     string        // of the file, as its source calls it
	Path     string
	Bytes    int64 // that have arrived
	Total    int64 // −1: not known
	Modified time.Time
	Busy     bool // a process is at it
}

// Leftovers lists what was broken off in a directory, and what is under way.
func Leftovers(dir string) ([]Leftover, error) { return leftovers(dir, nil) }

// RemoveLeftovers removes what was broken off and not touched since a time, and
// returns it. What is under way stays.
func RemoveLeftovers(dir string, before time.Time) ([]Leftover, error) {
	return leftovers(dir, func(l Leftover) bool { return !l.Busy && l.Modified.Before(before) })
}

// leftovers lists them all, or removes and lists those that remove names, holding
// their locks.
func leftovers(dir string, remove func(Leftover) bool) (all []Leftover, err error) {
	entries, err := os.ReadDir(dir)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("fetch: %w", err)
	}
	for _, e := range entries {
		key, ok := strings.CutSuffix(e.Name(), partSuffix)
		if !ok || !isSum(key) || !e.Type().IsRegular() {
			continue
		}
		l, keep, err := leftover(dir, key, remove)
		if err != nil {
			return all, err
		}
		if keep {
			all = append(all, l)
		}
	}
	return all, nil
}

// leftover looks at one; listed tells whether it is one of those that were asked for.
func leftover(dir, key string, remove func(Leftover) bool) (l Leftover, listed bool, err error) {
	p := &part{path: filepath.Join(dir, key+partSuffix)}
	p.data, err = os.Open(p.path)
	if os.IsNotExist(err) {
		return l, false, nil // it has been finished
	}
	if err != nil {
		return l, false, fmt.Errorf("fetch: %w", err)
	}
	defer p.data.Close()
	info, err := p.data.Stat()
	if err != nil {
		return l, false, fmt.Errorf("fetch: %w", err)
	}
	l = Leftover{Path: p.path, Total: -1, Modified: info.ModTime()}
	if b, err := os.ReadFile(p.path + stateSuffix); err == nil {
		if st, err := parseState(b); err == nil {
			l.Ref, l.Name, l.Bytes, l.Total = core.ModelRef(st.Ref), st.Name, st.Done.bytes(), st.Size
		}
	}
	free, err := p.lock()
	if err != nil {
		return l, false, err
	}
	l.Busy = !free
	if remove == nil {
		return l, true, nil
	}
	if !remove(l) || !p.current() {
		return l, false, nil
	}
	return l, true, p.remove()
}
