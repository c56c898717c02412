package fetch

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	partSuffix  = ".partial"
	stateSuffix = ".json"  // after partSuffix
	wrongSuffix = ".wrong" // of a file that was damaged in its place
)

// A part is the file of a download that is under way, with its state beside it. Who
// has the lock of the file may write both.
type part struct {
	path string
	data *os.File
	info *os.File

	infoSize int // bytes of the state's file
}

// openPart opens a part, an empty one if there is none.
func openPart(dir, key string) (*part, error) {
	p := &part{path: filepath.Join(dir, key+partSuffix)}
	var err error
	if p.data, err = os.OpenFile(p.path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, fmt.Errorf("fetch: %w", err)
	}
	if p.info, err = os.OpenFile(p.path+stateSuffix, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("fetch: %w", err), p.data.Close())
	}
	return p, nil
}

// Close gives up the lock, too.
func (p *part) Close() error { return errors.Join(p.info.Close(), p.data.Close()) }

// lock tries to take the lock; false: another one has it.
func (p *part) lock() (bool, error) {
	err := unix.Flock(int(p.data.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.EINTR) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("fetch: lock of %s: %w", p.path, err)
	}
	return true, nil
}

// current tells whether the file is still the one of its name: whoever had the lock
// may have brought it to its place, or removed it.
func (p *part) current() bool {
	mine, err := p.data.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(p.path)
	return err == nil && os.SameFile(mine, named)
}

// load reads the state; none that can be trusted is an error.
func (p *part) load() (state, error) {
	b, err := io.ReadAll(io.NewSectionReader(p.info, 0, maxState))
	if err != nil {
		return state{}, fmt.Errorf("fetch: %w", err)
	}
	p.infoSize = len(b)
	return parseState(b)
}

// save writes the state in one write: who is killed leaves the one before or this one.
func (p *part) save(st state) error {
	b, err := st.encode(p.infoSize)
	if err == nil {
		_, err = p.info.WriteAt(b, 0)
	}
	if err != nil {
		return fmt.Errorf("fetch: state of %s: %w", p.path, err)
	}
	p.infoSize = len(b)
	return nil
}

// empty throws away what is there. The file goes first: a state without its bytes is
// not believed.
func (p *part) empty(st state) error {
	if err := p.data.Truncate(0); err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	if err := p.save(st); err != nil {
		return err
	}
	return p.info.Sync()
}

// finish brings the file, which is whole and on the disk, to its place.
func (p *part) finish(path string) error {
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = os.Rename(p.path, path)
	}
	if err == nil {
		err = os.Remove(p.path + stateSuffix)
	}
	if err == nil {
		err = errors.Join(syncDir(filepath.Dir(path)), syncDir(filepath.Dir(p.path)))
	}
	if err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	return nil
}

// remove removes the files. The caller has the lock.
func (p *part) remove() error {
	return errors.Join(os.Remove(p.path+stateSuffix), os.Remove(p.path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
