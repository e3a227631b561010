package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Bounds of one count.
const (
	maxUsageEntries = 2_000_000
	maxUsageDepth   = 128
	dirBatch        = 1024
)

// Usage is what a workspace takes up.
type Usage struct {
	// Bytes are those that its files take up on the disk. Entries counts files,
	// folders and links.
	Bytes, Entries int64
	// Incomplete says that there is more than was counted: too many entries, too
	// deep, not readable or gone meanwhile.
	Incomplete bool
}

// FileSystem gives the size of the file system that the workspace is on, and what
// of it is left for us.
func (e *Engine) FileSystem() (capacity, available int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(e.workspace, &st); err != nil {
		return 0, 0, fmt.Errorf("asking for the space of the workspace: %w", err)
	}
	size := int64(st.Bsize)                                      //nolint:unconvert // of another type on other systems
	return int64(st.Blocks) * size, int64(st.Bavail) * size, nil //nolint:gosec // no disk has 2^63 bytes
}

// Usage counts what is in the workspace, until ctx ends.
func (e *Engine) Usage(ctx context.Context) (Usage, error) {
	var u Usage
	err := u.add(ctx, e.root, 0)
	if errors.Is(err, errStop) {
		u.Incomplete, err = true, nil
	}
	return u, err
}

func (u *Usage) add(ctx context.Context, dir *os.Root, depth int) error {
	f, err := dir.Open(".")
	if err != nil {
		u.Incomplete = true
		return nil //nolint:nilerr // it says that it is incomplete
	}
	defer func() { _ = f.Close() }()
	for {
		entries, err := f.ReadDir(dirBatch)
		if err != nil {
			u.Incomplete = u.Incomplete || !errors.Is(err, io.EOF)
			return ctx.Err()
		}
		for _, entry := range entries {
			if err := u.entry(ctx, dir, entry, depth); err != nil {
				return err
			}
		}
	}
}

func (u *Usage) entry(ctx context.Context, dir *os.Root, entry os.DirEntry, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if u.Entries++; u.Entries > maxUsageEntries {
		return errStop
	}
	info, err := entry.Info()
	if err != nil {
		u.Incomplete = true
		return nil //nolint:nilerr // it says that it is incomplete
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		u.Bytes += st.Blocks * 512
	}
	if !entry.IsDir() {
		return nil
	}
	if depth >= maxUsageDepth {
		u.Incomplete = true
		return nil
	}
	sub, err := dir.OpenRoot(entry.Name())
	if err != nil {
		u.Incomplete = true
		return nil //nolint:nilerr // it says that it is incomplete
	}
	defer func() { _ = sub.Close() }()
	return u.add(ctx, sub, depth+1)
}
