package server

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Protect keeps other processes of the same user from tracing this one, and from
// reading its memory and environment. Commands that are started are not affected.
func Protect() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("protecting the process from being traced: %w", err)
	}
	return nil
}
