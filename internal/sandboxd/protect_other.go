//go:build !linux

package sandboxd

// Protect does nothing here: sandboxes are Linux containers.
func Protect() error { return nil }
