// Package snapshot takes checkpoints of a folder into a record, and restores them.
//
// The folder belongs to code that is not trusted and that may write to it at any
// time. So every file is opened by its folder's descriptor and a single name, and no
// symlink is followed, not even one that stays inside, as os.Root would. What is
// stored of a file that changes meanwhile is some state of it, which fits its
// digest; the next snapshot looks at it again. A change through a writable
// mapping that the kernel does not show in the file's times is seen with the next
// one that it does, or after Reset.
package snapshot

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/runner/nofollow"
)

const (
	// smallFile is the size from which on a file has chunks of its own.
	smallFile = 256 << 10
	// parallel bounds the chunks that are on their way, and with them the memory.
	parallel = 4

	// maxEntries bounds what is kept in memory of a folder: some 300 bytes each.
	maxEntries = 500_000
	// maxListing bounds the paths of a workspace, and what a restore reads of a
	// listing, where they are base64 and have their files' digests beside them.
	maxPaths, maxListing = 64 << 20, 512 << 20
	// maxDepth bounds the folders that are open at a time, maxPath a path.
	maxDepth, maxPath = 1000, 16 << 10
	// maxName bounds a name, and maxTarget a symlink's text, on every file system.
	maxName, maxTarget = 255, 4095

	// marker is where a restore builds the tree. While it is there, all that is beside
	// it is of an unfinished restore.
	marker = ".sampan-restore"
)

// ErrNotEmpty says that a folder to restore into has something in it that is not
// of an unfinished restore.
var ErrNotEmpty = errors.New("the folder to restore into is not empty")

// TooLargeError says that a folder has more than may be kept of it. It was not
// taken, and nothing of it was stored; nor restored, where it says so of a checkpoint.
type TooLargeError struct {
	// Bytes counts what the files say that they have: a sparse file counts in full.
	Bytes, MaxBytes int64
	// Entries counts files, folders and links, as far as they were looked at.
	Entries, MaxEntries int64
}

func (e *TooLargeError) Error() string { return e.Of("workspace") }

// Of says it of a folder by its name.
func (e *TooLargeError) Of(folder string) string {
	if e.Entries > e.MaxEntries {
		return fmt.Sprintf("the %s has more than %d files, folders and links, or too long paths", folder, e.MaxEntries)
	}
	return fmt.Sprintf("the files of the %s have %d bytes, of which %d may be kept", folder, e.Bytes, e.MaxBytes)
}

// Tree is a snapshot, as a record.Checkpoint has it.
type Tree struct {
	// Chunks list the workspace; they are stored, and all that they name.
	Chunks []record.Digest
	// Files counts files without further names of the same file, Bytes their sizes.
	Files, Bytes int64
	// LeftOut names what is not in it and why, visibly, at most 100.
	LeftOut []string
}

// Snapshotter takes snapshots of one folder, a workspace or a home. It keeps in memory what it saw last, so
// that the next one costs what has changed. It is not safe for concurrent use.
type Snapshotter struct {
	// Root is the folder.
	Root string
	// Exclude are patterns of paths within Root, with / and **, that are neither looked
	// at nor kept nor restored, with all that is in them. They do not change between two
	// snapshots.
	Exclude []string
	// MaxBytes bounds the sum of the sizes of the files, MaxEntries the files, folders and
	// links; 0 is the most that there may be, which is half a million.
	MaxBytes   int64
	MaxEntries int
	// Now tells the time, as the file system does; nil is the system's clock.
	Now func() time.Time

	last state
	// takes counts the snapshots that were begun.
	takes uint64
	// step is asked before anything is written to the folder: tests end it there.
	step func() error
}

// state is what the last snapshot saw, or the restore. None of it changes after,
// but for the marks of the next one.
type state struct {
	// take is the snapshot that it is from.
	take uint64
	// items are in the order of a walk.
	items []*item
	// groups are the parts of the listing, by the first of their items.
	groups map[*item]*group
	// contents are those of small files, by digest. One that take did not mark is
	// not in the checkpoint, so its chunk may be gone.
	contents map[sum]*content
	// known are the chunks that the checkpoint names.
	known map[record.Digest]bool
}

// Reset forgets what was seen: the next snapshot reads everything, and asks for
// every chunk whether it is stored. It is for a checkpoint that was not committed
// because a chunk is missing, and for one that has to be of what is there, whatever the
// files' times say.
func (s *Snapshotter) Reset() { s.last = state{} }

// Take takes a snapshot: it stores what is not stored, and says what to commit. An
// error leaves things so that the next Take can be expected to do better;
// *TooLargeError is one that it will not.
func (s *Snapshotter) Take(ctx context.Context, rec record.Recorder) (Tree, error) {
	if err := s.checkExclude(); err != nil {
		return Tree{}, err
	}
	root, err := nofollow.OpenRoot(s.Root)
	if err != nil {
		return Tree{}, err
	}
	defer nofollow.Close(root)
	settled := s.settled()
	tour := &tour{ctx: ctx, exclude: s.Exclude, maxEntries: s.maxEntries(), old: s.last.items, settled: settled}
	t := &take{maxBytes: s.MaxBytes, settled: settled, last: s.last, contents: s.last.contents, at: nofollow.NewCursor(root)}
	defer t.at.Close()
	tree, next, err := t.run(ctx, rec, tour, root, s.mark)
	if err != nil {
		t.forget()
		return Tree{}, fmt.Errorf("taking a snapshot of %s: %w", s.Root, err)
	}
	s.last = next
	return tree, nil
}

func (s *Snapshotter) checkExclude() error {
	for _, pattern := range s.Exclude {
		if !doublestar.ValidatePattern(pattern) {
			return fmt.Errorf("%q, which is to be left out of snapshots, is not a pattern", pattern)
		}
	}
	return nil
}

func (s *Snapshotter) maxEntries() int {
	if s.MaxEntries > 0 {
		return min(s.MaxEntries, maxEntries)
	}
	return maxEntries
}

// mark gives a number that nothing has been marked with.
func (s *Snapshotter) mark() uint64 {
	s.takes++
	return s.takes
}

// granularity is more than the time within which two changes of a file may have
// the same time: a tick of the kernel. File systems that count whole seconds have
// coarse.
const (
	granularity = 100 * time.Millisecond
	coarse      = 2 * time.Second
)

// settled gives what tells of a file that a change to come will have another time
// than the last, in nanoseconds since 1970.
func (s *Snapshotter) settled() func(changed int64) bool {
	now := time.Now
	if s.Now != nil {
		now = s.Now
	}
	start := now().UnixNano()
	return func(changed int64) bool {
		if changed%int64(time.Second) == 0 {
			return changed < start-int64(coarse)
		}
		return changed < start-int64(granularity)
	}
}
