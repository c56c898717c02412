package lease

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Adopt makes this process the parent of whatever processes below it lose theirs, in
// place of the system's first one. They stay in its tree, where Count finds them
// though they have changed group, session and environment.
func Adopt() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("lease: adopt: %w", err)
	}
	return nil
}
