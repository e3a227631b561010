package snapshot

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sampan-dev/sampan/internal/runner/nofollow"
)

// permit lets the owner of a folder list and change it, whatever its mode, by a
// descriptor that may be had of any: a link in its place is not followed.
func permit(parent int, name string) error {
	fd, err := nofollow.OpenAt(parent, name, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer nofollow.Close(fd)
	return os.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), 0o700)
}
