package client

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// pin takes hold of a socket itself, whatever is at its path later, and gives
// the name by which this process reaches it.
func pin(path string) (name string, held *os.File, err error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", nil, fmt.Errorf("opening %s: %w", path, err)
	}
	return fmt.Sprintf("/proc/self/fd/%d", fd), os.NewFile(uintptr(fd), path), nil
}
