package recorded

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/runner/snapshot"
)

// Bounds of what is kept of a home, which has what tools have installed and noted for
// themselves.
const (
	maxHomeBytes   = 1 << 30
	maxHomeEntries = 100_000
)

// caches are paths in a home of what tools fetch again.
var caches = []string{
	".cache", ".npm/_cacache", ".yarn/berry/cache", ".local/share/pnpm/store", ".bun/install/cache", ".cargo/registry", ".cargo/git",
	".gradle/caches", ".m2/repository", ".nuget/packages", "go/pkg/mod",
}

// Folders are what checkpoints of a run have.
type Folders struct {
	// Workspace may have Limit bytes; 0 if nobody bounds it.
	Workspace string
	Limit     int64
	// Home is the home of the tools; empty where it is not theirs alone.
	Home string
	// HomeExcept are patterns of paths in Home that are left as they are, besides caches.
	HomeExcept []string
}

// workspace gives what takes and restores the workspace.
func (f Folders) workspace() *snapshot.Snapshotter {
	return &snapshot.Snapshotter{Root: f.Workspace, MaxBytes: max(maxKeptBytes, f.Limit)}
}

// home gives what takes and restores the home; nil without one.
func (f Folders) home() *snapshot.Snapshotter {
	if f.Home == "" {
		return nil
	}
	return &snapshot.Snapshotter{
		Root: f.Home, Exclude: slices.Concat(f.HomeExcept, caches), MaxBytes: maxHomeBytes, MaxEntries: maxHomeEntries,
	}
}

// takeHome gives the home for a checkpoint, and what is left out of it. One that is too
// large is left out as a whole.
func (k *Keeper) takeHome(ctx context.Context) (*record.Tree, []string, error) {
	if k.home == nil {
		return nil, nil, nil
	}
	tree, err := k.home.Take(ctx, k.rec)
	var large *snapshot.TooLargeError
	switch {
	case errors.As(err, &large):
		return nil, []string{"the whole home, since " + large.Of("home")}, nil
	case err != nil:
		return nil, nil, err
	}
	left := make([]string, len(tree.LeftOut))
	for i, name := range tree.LeftOut {
		left[i] = "~/" + name
	}
	return &record.Tree{Chunks: tree.Chunks, Files: tree.Files, Bytes: tree.Bytes}, left, nil
}

// restoreHome builds the home of a checkpoint, and tells whether it has one.
func (k *Keeper) restoreHome(ctx context.Context, c record.Checkpoint) (done bool, err error) {
	if k.home == nil || c.Home == nil {
		return false, nil
	}
	c.Tree, c.Files, c.Bytes = c.Home.Chunks, c.Home.Files, c.Home.Bytes
	err = k.home.Restore(ctx, k.rec, c)
	var large *snapshot.TooLargeError
	if errors.As(err, &large) {
		err = fmt.Errorf("restoring the checkpoint of turn %d: %s", c.Turn, large.Of("home"))
	}
	return err == nil, err
}

// maxLeftOut bounds what a checkpoint names.
const maxLeftOut = 100

// joinLeftOut names the home's first: of the workspace's there may be as many as are named.
func joinLeftOut(home, workspace []string) []string {
	all := slices.Concat(home, workspace)
	if len(all) > maxLeftOut {
		all = append(all[:maxLeftOut-1], "and more")
	}
	return all
}
