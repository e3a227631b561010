//go:build unix

package transcript

import (
	"errors"
	"os"
	"syscall"
)

// Lock makes sure that one process writes a transcript at a time: two would
// each break the other's chain. The lock ends with the process. A file system
// without locks is taken as it is.
func Lock(f *os.File) error {
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrInUse
	}
	return nil
}
