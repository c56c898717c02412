package secure

import (
	"crypto/rand"
	"encoding/hex"
)

// RandomID returns a new identifier of 16 hexadecimal digits: for instances,
// tasks and correlation, never a secret.
func RandomID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
