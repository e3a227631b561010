//go:build !linux

package snapshot

import "golang.org/x/sys/unix"

// permit lets the owner of a folder list and change it, whatever its mode.
func permit(parent int, name string) error {
	return unix.Fchmodat(parent, name, 0o700, unix.AT_SYMLINK_NOFOLLOW)
}
