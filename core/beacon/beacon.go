// Package beacon is how a daemon of a user is found when it could not have its usual
// port: by a file in the user's state directory, which nobody else may write.
package beacon

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"rbee/core/api"
	"rbee/core/lease"
)

// Light says where the daemon of that name listens. put takes it back.
func Light(dir, name string, up api.Up) (put func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("beacon: %w", err)
	}
	b, err := json.Marshal(up)
	if err != nil {
		return nil, fmt.Errorf("beacon: %w", err)
	}
	file := File(dir, name)
	tmp, err := os.CreateTemp(dir, "."+name+"-") // of mode 0600
	if err != nil {
		return nil, fmt.Errorf("beacon: %w", err)
	}
	_, err = tmp.Write(append(b, '\n'))
	if closed := tmp.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(tmp.Name(), file)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
		return nil, fmt.Errorf("beacon: %w", err)
	}
	return func() {
		if Names(file, up) { // not another's since
			_ = os.Remove(file)
		}
	}, nil
}

// Find returns where the daemon of that name listens, if it lives.
func Find(dir, name string) (api.Up, bool) {
	up, ok := read(File(dir, name))
	if !ok || !(lease.Proc{PID: up.PID, Started: up.Started}).Alive() {
		return api.Up{}, false
	}
	return up, true
}

// Port is where the daemon of that name listens, or the usual port.
func Port(dir, name string, usual int) int {
	if up, ok := Find(dir, name); ok {
		return up.Port
	}
	return usual
}

// File is where the daemon of that name says where it listens.
func File(dir, name string) string { return filepath.Join(dir, name+".json") }

// Names tells whether a file still says that this daemon listens, alive or not.
func Names(file string, up api.Up) bool {
	now, ok := read(file)
	return ok && now.PID == up.PID && now.Started == up.Started
}

func read(file string) (up api.Up, ok bool) {
	b, err := os.ReadFile(file)
	return up, err == nil && json.Unmarshal(b, &up) == nil && up.Port > 0 && up.PID > 0
}
