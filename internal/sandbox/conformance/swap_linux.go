package conformance

import "golang.org/x/sys/unix"

// swap makes each of two paths lead to what the other was, at one instant:
// there is no moment at which one of them is missing, and could be made again.
func swap(a, b string) error {
	return unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
}
