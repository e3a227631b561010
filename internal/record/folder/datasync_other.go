//go:build !linux

package folder

import "os"

// datasync waits until a file is on disk.
func datasync(f *os.File) error { return f.Sync() }
