package cmdline

import (
	"os"
	"sync"
	"time"

	"rbee/core"
	"rbee/core/alias"
)

// ModelNames knows what people call models. The user's file is read again when it has
// changed: a daemon lives long. Its methods may be called at once.
type ModelNames struct {
	File string // aliases.toml

	mu    sync.Mutex // guards all below
	table *alias.Table
	read  time.Time // when the file was changed last
}

// Resolve returns the reference in full that a name stands for.
func (n *ModelNames) Resolve(name core.ModelRef) (core.ModelRef, error) {
	if !core.IsAlias(string(name)) {
		return core.ParseModelRef(string(name))
	}
	t, err := n.now()
	if err != nil {
		return "", err
	}
	return t.Resolve(string(name))
}

// now is the table as the file is now.
func (n *ModelNames) now() (*alias.Table, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var changed time.Time
	if info, err := os.Stat(n.File); err == nil {
		changed = info.ModTime()
	}
	if n.table != nil && changed.Equal(n.read) {
		return n.table, nil
	}
	t, err := alias.Load(n.File)
	if err != nil {
		return nil, err
	}
	n.table, n.read = t, changed
	return t, nil
}
