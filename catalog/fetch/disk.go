package fetch

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"rbee/core"
)

// spaceFirst is an error when the disk has no room for what is missing and 1 % more;
// d.mu is held.
func (d *pull) spaceFirst() error {
	missing := d.missing()
	return d.space(missing + missing/100)
}

// spaceLeft is an error when the disk has no room any more for what is missing: others
// write to it, too. The disk is not filled to its end. d.mu is held.
func (d *pull) spaceLeft() error { return d.space(d.missing()) }

// missing is what this file needs yet; d.mu is held.
func (d *pull) missing() int64 { return max(d.st.Size-d.fl.done.Load(), 0) }

func (d *pull) space(need int64) error {
	var st unix.Statfs_t
	known := unix.Statfs(d.f.o.Dir, &st) == nil // else the write will tell
	others := d.f.missing(d)
	if free := int64(st.Bavail) * st.Bsize; known && free < need+others {
		return d.full(need, max(free-others, 0), nil)
	}
	return nil
}

// missing is what the other downloads into the directory need yet.
func (f *Fetcher) missing(but *pull) (n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for d := range f.pulls {
		if d != but {
			n += max(d.fl.total.Load()-d.fl.done.Load(), 0)
		}
	}
	return n
}

func (d *pull) full(need, free int64, cause error) error {
	return &core.Fault{
		Kind:  core.InsufficientDisk,
		What:  fmt.Sprintf("the disk has no room for what is missing of %s", d.j.ref),
		Facts: []core.Fact{core.Number("required_bytes", need), core.Number("available_bytes", free), core.Text("path", d.f.o.Dir)},
		Try:   "make room: rbee model list; rbee model rm MODEL", Cause: cause,
	}
}

// disk makes the fault of an error in writing.
func (d *pull) disk(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return d.full(max(d.fl.total.Load()-d.fl.done.Load(), 0), 0, err)
	}
	return &core.Fault{Kind: core.Internal, What: fmt.Sprintf("fetch: %v", err), Cause: err}
}
