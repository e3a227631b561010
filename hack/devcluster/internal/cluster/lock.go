package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-dev/sampan/hack/devcluster/internal/proc"
)

// longestState keeps containerd's socket under the 108 bytes that the kernel
// allows for the path of a socket.
const longestState = 108 - len("/run/containerd/containerd.sock.ttrpc") - 1

// lock creates the cluster's folder where it is missing and keeps every other
// command that changes a cluster out of it until unlock is called.
func lock(ctx context.Context, state string) (unlock func(), err error) {
	if !filepath.IsAbs(state) || len(state) > longestState {
		return nil, fmt.Errorf("the cluster's folder %q must be an absolute path of at most %d bytes", state, longestState)
	}
	err = proc.Poll(ctx, 100*time.Millisecond, func() (bool, error) {
		if err := os.MkdirAll(state, 0o711); err != nil {
			return false, fmt.Errorf("creating the cluster's folder: %w", err)
		}
		folder, err := os.Open(state)
		if err != nil {
			return false, fmt.Errorf("opening the cluster's folder: %w", err)
		}
		err = unix.Flock(int(folder.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil && sameFolder(folder, state) {
			unlock = func() { _ = folder.Close() }
			return true, nil
		}
		_ = folder.Close()
		if err != nil && !errors.Is(err, unix.EWOULDBLOCK) {
			return false, fmt.Errorf("locking the cluster's folder: %w", err)
		}
		return false, nil
	})
	if err != nil {
		return nil, fmt.Errorf("waiting for another command to leave %s: %w", state, err)
	}
	return unlock, nil
}

// sameFolder reports whether the opened folder is still the one at the path: it
// may have been removed while the lock was waited for.
func sameFolder(folder *os.File, path string) bool {
	opened, err := folder.Stat()
	if err != nil {
		return false
	}
	now, err := os.Stat(path)
	return err == nil && os.SameFile(opened, now)
}
