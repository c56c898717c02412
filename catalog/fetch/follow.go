package fetch

import (
	"context"
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"fmt"
	hashes "hash"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

const (
	keepEvery   = 16 * mebi // bytes between two states of the hash
	settleEvery = 64 * mebi // bytes between two commits to the disk
)

// hash follows the front of the file while it arrives: what it reads is still in the
// system's cache. After complete is closed it hashes the rest and returns the sum.
func (d *pull) hash(ctx context.Context, complete <-chan struct{}) (string, error) {
	h, at := d.hashSoFar()
	buf := make([]byte, bufferSize)
	kept := at
	for ended := false; ; {
		for front := d.front(); at < front; {
			n, err := d.p.data.ReadAt(buf[:min(int64(len(buf)), front-at)], at)
			if n == 0 || ctx.Err() != nil {
				return "", d.unread(ctx, at, err)
			}
			h.Write(buf[:n])
			at += int64(n)
			if at-kept >= keepEvery {
				kept = at
				d.keepHash(h, at)
			}
		}
		if ended {
			d.keepHash(h, at)
			return hex.EncodeToString(h.Sum(nil)), nil
		}
		select {
		case <-d.moved:
		case <-complete:
			ended = true
		case <-ctx.Done():
			d.keepHash(h, at)
			return "", context.Cause(ctx)
		}
	}
}

// sumOf hashes a whole file.
func sumOf(ctx context.Context, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("fetch: %w", err)
	}
	defer f.Close()
	h, buf := sha256.New(), make([]byte, bufferSize)
	for {
		n, err := f.Read(buf)
		h.Write(buf[:n])
		switch {
		case ctx.Err() != nil:
			return "", context.Cause(ctx)
		case err == io.EOF:
			return hex.EncodeToString(h.Sum(nil)), nil
		case err != nil:
			return "", fmt.Errorf("fetch: %w", err)
		}
	}
}

func (d *pull) unread(ctx context.Context, at int64, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("fetch: %s: byte %d: %w", d.p.path, at, err)
}

func (d *pull) front() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.st.Done.front()
}

// hashSoFar is where an earlier download was broken off.
func (d *pull) hashSoFar() (hashes.Hash, int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := sha256.New()
	u, ok := h.(encoding.BinaryUnmarshaler)
	if len(d.st.Hash) == 0 || !ok || u.UnmarshalBinary(d.st.Hash) != nil { // or of another version of Go
		return sha256.New(), 0
	}
	return h, d.st.Hashed
}

// keepHash puts the hash of at bytes into the state, which the next write brings to
// the disk.
func (d *pull) keepHash(h hashes.Hash, at int64) {
	m, ok := h.(encoding.BinaryMarshaler)
	if !ok {
		return
	}
	b, err := m.MarshalBinary()
	if err != nil {
		return // the next download hashes from the start
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.st.Hash, d.st.Hashed = b, at
}

// settle brings the bytes to the disk itself from time to time, so that they survive
// the machine going down, and the end does not wait for all of them.
func (d *pull) settle(ctx context.Context, complete <-chan struct{}) error {
	for at := d.front(); ; {
		select {
		case <-complete:
			return nil
		case <-ctx.Done():
			return nil
		case <-d.grown:
		}
		front := d.front()
		if front-at < settleEvery {
			continue
		}
		if err := unix.Fdatasync(int(d.p.data.Fd())); err != nil {
			return d.disk(fmt.Errorf("fetch: %s: %w", d.p.path, err))
		}
		at = front
		d.mu.Lock()
		d.st.Durable = front
		d.mu.Unlock()
	}
}
