package snapshot

import (
	"os"

	"github.com/sampan-dev/sampan/internal/runner/nofollow"
)

// openUp lets the owner remove what is in a folder, and in the folders in it.
func openUp(parent int, name string) error {
	if err := permit(parent, name); err != nil {
		if nofollow.Gone(err) { // no folder
			return nil
		}
		return err
	}
	fd, err := nofollow.OpenFolder(parent, name)
	if err != nil {
		if nofollow.Gone(err) {
			return nil
		}
		return err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close() //nolint:errcheck // only read
	entries, err := f.ReadDir(-1)
	for _, e := range entries {
		if err == nil && e.IsDir() {
			err = openUp(fd, e.Name())
		}
	}
	return err
}
