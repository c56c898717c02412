package fetch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"strings"
)

// A state is what is known of a partial file. It is written after the bytes that it
// speaks of: a process that is killed leaves them in the system's cache. When the
// machine itself went down (Boot is another), only Durable bytes are trusted, which
// were on the disk before they were written here.
type state struct {
	Ref       string `json:"ref"` // for people
	Name      string `json:"name"`
	Size      int64  `json:"size"`                // −1: not known yet
	SHA256    string `json:"sha256,omitempty"`    // what is expected; of a complete one what it is
	Complete  bool   `json:"complete,omitempty"`  // it has its place and its name
	Validator string `json:"validator,omitempty"` // ETag or date of the answers that the bytes came in
	Host      string `json:"host,omitempty"`      // that gave the validator
	Boot      string `json:"boot"`                // of the machine when it was written
	Done      spans  `json:"done"`
	Durable   int64  `json:"durable,omitempty"`
	Hashed    int64  `json:"hashed,omitempty"` // bytes that Hash is of
	Hash      []byte `json:"hash,omitempty"`
}

// A sealed state says by its sum that it was written whole.
type sealed struct {
	State json.RawMessage `json:"state"`
	Sum   uint32          `json:"crc32"`
}

// statePage is what the file of a state is filled up to, so that a later state covers
// an earlier one in one write.
const statePage = 4 << 10

// maxState is far more than a state takes.
const maxState = 1 << 20

// encode returns st as its file has it, at least size bytes long.
func (st state) encode(size int) ([]byte, error) {
	inner, err := json.Marshal(st)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(sealed{inner, crc32.ChecksumIEEE(inner)})
	if err != nil {
		return nil, err
	}
	size = max(size, (len(b)+statePage)/statePage*statePage)
	b = append(b, bytes.Repeat([]byte(" "), size-len(b)-1)...)
	return append(b, '\n'), nil
}

var errState = errors.New("fetch: not the state of a download")

// parseState reads what encode wrote.
func parseState(b []byte) (state, error) {
	var outer sealed
	var st state
	if err := json.Unmarshal(b, &outer); err != nil {
		return state{}, fmt.Errorf("%w: %w", errState, err)
	}
	if crc32.ChecksumIEEE(outer.State) != outer.Sum {
		return state{}, fmt.Errorf("%w: its sum is wrong", errState)
	}
	if err := json.Unmarshal(outer.State, &st); err != nil {
		return state{}, fmt.Errorf("%w: %w", errState, err)
	}
	limit := st.Size
	if limit < 0 {
		limit = maxSize
	}
	front := st.Done.front()
	if st.Size < -1 || st.Size > maxSize || !st.Done.valid(limit) || st.SHA256 != "" && !isSum(st.SHA256) ||
		st.Durable < 0 || st.Durable > front || st.Hashed < 0 || st.Hashed > front {
		return state{}, fmt.Errorf("%w: its numbers do not fit each other", errState)
	}
	return st, nil
}

// afterReboot is st with what is surely on the disk: all of it, unless the machine
// went down since.
func (st state) afterReboot(boot string) state {
	if st.Boot == boot && boot != "" {
		return st
	}
	st.Boot, st.Done = boot, spans(nil).with(span{0, st.Durable})
	st.Hashed, st.Hash = 0, nil // what the disk has now is hashed
	return st
}

// bootID is another one after each start of the machine.
func bootID() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // without: what is durable is trusted
	return strings.TrimSpace(string(b))
}

// isSum tells whether text is a SHA-256 in lower-case hexadecimal.
func isSum(text string) bool {
	return len(text) == 64 && strings.Trim(text, "0123456789abcdef") == ""
}
