package secure

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"rbee/core"
)

// NewToken returns a new secret of 256 bits.
func NewToken() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// WriteToken makes a file with a new token that nobody but its owner may read. One
// that is there already fails with fs.ErrExist, unless replace.
func WriteToken(name string, replace bool) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return fmt.Errorf("secure: token file: %w", err)
	}
	if replace {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("secure: token file: %w", err)
		}
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("secure: token file: %w", err)
	}
	_, err = f.WriteString(NewToken() + "\n")
	return errors.Join(err, f.Close())
}

// TokenIn is ReadToken for a setting that may be empty: then there is no token.
func TokenIn(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	return ReadToken(name)
}

// ReadToken returns the token in a file that nobody but its owner may read.
func ReadToken(name string) (string, error) {
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", &core.Fault{
			Kind: core.Invalid, What: fmt.Sprintf("token file %s is not there", name),
			Try: "rbee token new --file " + name, Cause: err,
		}
	}
	if err != nil {
		return "", fmt.Errorf("secure: token file: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", &core.Fault{
			Kind: core.Invalid, What: fmt.Sprintf("token file %s may be read by others: mode %#o", name, info.Mode().Perm()),
			Try: "chmod 600 " + name,
		}
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("secure: token file: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if token == "" || strings.ContainsAny(token, " \t\r\n") {
		return "", &core.Fault{Kind: core.Invalid, What: fmt.Sprintf("token file %s does not hold one line with a token", name)}
	}
	return token, nil
}
