package catalog

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"rbee/core"
)

// Use finds a model for a worker, counts the use, and holds the model: until release
// is called no process removes it. It is held by a lock of the kernel on its first
// file and not by a row, so that a process that was killed holds nothing any more:
// there is no trace to clean up, and no process id that may be another's by then.
func (c *Catalog) Use(ctx context.Context, ref core.ModelRef) (m Model, release func(), err error) {
	for {
		if m, err = c.Find(ctx, ref); err != nil {
			return Model{}, nil, err
		}
		f, err := hold(ctx, m.Path)
		if errors.Is(err, errOther) {
			continue // it was removed meanwhile
		}
		if err != nil {
			return Model{}, nil, err
		}
		if err := c.Used(ctx, ref); err != nil {
			return Model{}, nil, errors.Join(err, f.Close())
		}
		return m, func() { _ = f.Close() }, nil
	}
}

var errOther = errors.New("another file, or none, is at the path now")

// hold locks the file at a path against removal.
func hold(ctx context.Context, path string) (*os.File, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errOther
	}
	if err != nil {
		return nil, err
	}
	if err = flock(ctx, f, unix.LOCK_SH); err == nil {
		err = still(f, path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// still is an error unless f is what the path names.
func still(f *os.File, path string) error {
	mine, err := f.Stat()
	if err != nil {
		return err
	}
	theirs, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(mine, theirs) {
		return errOther
	}
	return err
}

// flock waits for a lock on a file. A file system that has no locks gives it.
func flock(ctx context.Context, f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return withoutLocks(err)
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// withoutLocks is err, or nil when it says that the file system has no locks.
func withoutLocks(err error) error {
	for _, none := range []error{unix.ENOLCK, unix.ENOSYS, unix.EOPNOTSUPP, unix.EBADF} {
		if errors.Is(err, none) {
			return nil
		}
	}
	return err
}

// held are files that are locked for removal, by their paths.
type held map[string]*os.File

// take locks a file for removal. It tells whether nobody uses the file.
func (h held) take(path string) bool {
	if h[path] != nil {
		return true
	}
	f, err := os.Open(path)
	if err != nil {
		return true // what cannot be read is used by nobody
	}
	if errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK) {
		_ = f.Close()
		return false
	}
	h[path] = f
	return true
}

func (h held) release() {
	for _, f := range h {
		_ = f.Close()
	}
}
