package folder

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// datasync waits for a file's bytes and size, not for its times.
func datasync(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
