//go:build !linux

package server

// Protect does nothing here: sandboxes are Linux containers.
func Protect() error { return nil }
