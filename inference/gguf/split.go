package gguf

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
)

// maxParts is how many parts no honest set exceeds: names have five digits.
const maxParts = 99999

// A split is a part's place in its set; a whole file is part 0 of 1.
type split struct {
	no, count, tensors int // tensors of the whole set; -1: not said
}

// split reads split.no, split.count and split.tensors.count.
func (f *File) split() (s split, err error) {
	s = split{count: 1, tensors: -1}
	if !f.Has("split.count") && !f.Has("split.no") {
		return s, nil
	}
	for _, k := range []struct {
		key      string
		to       *int
		most     uint64
		fallback bool
	}{{"split.count", &s.count, maxParts, false}, {"split.no", &s.no, maxParts, false}, {"split.tensors.count", &s.tensors, maxParts * maxTensors, true}} {
		n, ok := f.Uint(k.key)
		switch {
		case !f.Has(k.key) && k.fallback:
		case !f.Has(k.key):
			return s, fmt.Errorf("gguf: %s is missing in a part of a split file: %w", k.key, ErrFormat)
		case !ok || n > k.most:
			return s, fmt.Errorf("gguf: byte %d: %s is out of range: %w", f.at(k.key), k.key, ErrFormat)
		default:
			*k.to = int(n)
		}
	}
	if s.count == 0 { // as llama.cpp takes it: not split
		s.count = 1
	}
	if s.no >= s.count {
		return s, fmt.Errorf("gguf: byte %d: split.no is %d of %d parts, counted from 0: %w", f.at("split.no"), s.no, s.count, ErrFormat)
	}
	return s, nil
}

// join adds the tensors of part no.
func (f *File) join(no int, data []byte, set split) error {
	in := func(err error) error { return fmt.Errorf("%w (in part %d of %d)", err, no+1, set.count) }
	p, err := parse(data)
	if err != nil {
		return in(err)
	}
	at, err := p.split()
	switch {
	case err != nil:
		return in(err)
	case at.no != no || at.count != set.count:
		return in(fmt.Errorf("gguf: byte %d: split.no: this is part %d of %d, want part %d of %d: %w", p.at("split.no"), at.no+1, at.count, no+1, set.count, ErrFormat))
	case at.tensors >= 0 && set.tensors >= 0 && at.tensors != set.tensors:
		return in(fmt.Errorf("gguf: byte %d: split.tensors.count is %d, in the first part %d: it belongs to another set: %w", p.at("split.tensors.count"), at.tensors, set.tensors, ErrFormat))
	}
	for _, t := range p.tensors {
		if _, twice := f.index[t.Name]; twice {
			return in(fmt.Errorf("gguf: byte %d: tensor %q stands twice: %w", t.info, t.Name, ErrFormat))
		}
		t.part = no
		f.index[t.Name], f.tensors = len(f.tensors), append(f.tensors, t)
	}
	f.parts = append(f.parts, data)
	return nil
}

// complete checks the number of tensors.
func (f *File) complete(s split) error {
	if s.tensors >= 0 && s.tensors != len(f.tensors) {
		return fmt.Errorf("gguf: byte %d: split.tensors.count is %d, the %d parts have %d tensors: %w", f.at("split.tensors.count"), s.tensors, s.count, len(f.tensors), ErrFormat)
	}
	return nil
}

// partName is the form of a part's name that llama.cpp writes and expects.
var partName = regexp.MustCompile(`^(.*)-(\d{5,})-of-(\d{5,})\.gguf$`)

// PartPath is the path of part no, counted from 0, of the split file of which path
// names any part. ok is false when path is no part's name.
func PartPath(path string, no int) (part string, ok bool) {
	m := partName.FindStringSubmatch(filepath.Base(path))
	if m == nil {
		return "", false
	}
	return filepath.Join(filepath.Dir(path), fmt.Sprintf("%s-%05d-of-%s.gguf", m[1], no+1, m[3])), true
}

// Parts returns the paths of all parts of the split file of which path names one,
// by the names alone; of any other file only path.
func Parts(path string) []string {
	m := partName.FindStringSubmatch(filepath.Base(path))
	if m == nil {
		return []string{path}
	}
	n, err := strconv.Atoi(m[3])
	if err != nil || n < 1 || n > maxParts {
		return []string{path}
	}
	all := make([]string, n)
	for i := range all {
		all[i], _ = PartPath(path, i)
	}
	return all
}

// openParts opens what belongs to the first part at path.
func (f *File) openParts(path string) error {
	at, err := f.split()
	if err != nil || at.count == 1 {
		return err
	}
	first, named := PartPath(path, 0)
	if at.no != 0 {
		if !named {
			first = "the first, whose name ends in -00001-of-" + fmt.Sprintf("%05d.gguf", at.count)
		}
		return fmt.Errorf("gguf: byte %d: split.no: this is part %d of %d: open %s: %w", f.at("split.no"), at.no+1, at.count, first, ErrFormat)
	}
	if parts := Parts(path); !named || len(parts) != at.count || first != filepath.Clean(path) {
		return fmt.Errorf("gguf: byte %d: split.count: this is part 1 of %d, and its name must end in -00001-of-%05d.gguf, with the others beside it: %w", f.at("split.count"), at.count, at.count, ErrFormat)
	}
	for no := 1; no < at.count; no++ {
		part, _ := PartPath(path, no)
		data, err := mapFile(part)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("gguf: part %d of %d is missing: %s: %w: %w", no+1, at.count, part, ErrFormat, err)
		}
		if err != nil {
			return err
		}
		f.mapped = append(f.mapped, data)
		if err := f.join(no, data, at); err != nil {
			return err
		}
	}
	return f.complete(at)
}
