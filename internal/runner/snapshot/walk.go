package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"

	"github.com/bmatcuk/doublestar/v4"
	"golang.org/x/sys/unix"

	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/runner/nofollow"
	"github.com/sampan-dev/sampan/internal/text"
)

// namesAtOnce is how many names of a folder are read before they are counted.
const namesAtOnce = 1024

// walk looks at a folder and all in it, without opening a file. What it finds as the
// last snapshot saw it is that one's item, itself.
type walk struct {
	ctx     context.Context
	exclude []string
	// maxEntries bounds the items.
	maxEntries int
	// old are the items of the last snapshot, of which those before next are passed.
	old  []*item
	next int
	// settled tells of a time of change whether a later one will be another.
	settled func(int64) bool

	items []*item
	// pending are the indexes of those whose content has to be read, and of hard links.
	pending []int
	// first are the files with several names, by the first name.
	first map[inode]*item
	// bytes is the sum of the files' sizes, paths of the lengths of all paths.
	bytes, paths int64
	left         leftOut
	// path is where it is.
	path []byte
}

// folder walks an open folder, depth of which are open.
func (w *walk) folder(fd, depth int) error {
	if err := w.ctx.Err(); err != nil {
		return context.Cause(w.ctx)
	}
	names, err := w.names(fd)
	if err != nil {
		return err
	}
	here := len(w.path)
	for _, name := range names {
		if depth == 1 && name == marker {
			continue
		}
		if here > 0 {
			w.path = append(w.path, '/')
		}
		w.path = append(w.path, name...)
		if err := w.name(fd, name, depth); err != nil {
			return err
		}
		w.path = w.path[:here]
	}
	return nil
}

// names gives the names in a folder, in their order.
func (w *walk) names(fd int) ([]string, error) {
	again, err := nofollow.OpenFolder(fd, ".") // what reads names moves in its descriptor, and closes it
	if err != nil {
		if nofollow.Gone(err) {
			return nil, nil
		}
		return nil, w.wrap(err)
	}
	f := os.NewFile(uintptr(again), string(w.path))
	defer f.Close() //nolint:errcheck // only read
	var names []string
	for {
		more, err := f.Readdirnames(namesAtOnce)
		names = append(names, more...)
		if errors.Is(err, io.EOF) || err != nil && nofollow.Gone(err) {
			slices.Sort(names)
			return names, nil
		}
		if err != nil {
			return nil, err
		}
		if len(w.items)+len(names) > w.maxEntries {
			return nil, w.tooMany()
		}
	}
}

func (w *walk) tooMany() error {
	return &TooLargeError{Entries: int64(w.maxEntries) + 1, MaxEntries: int64(w.maxEntries)}
}

func (w *walk) wrap(err error) error { return fmt.Errorf("looking at %q: %w", w.path, err) }

// passOver goes on where w.path could not be looked at: it is gone, or left out. Any other
// error ends the walk.
func (w *walk) passOver(err error) error {
	switch {
	case nofollow.Gone(err):
		return nil
	case nofollow.Denied(err):
		w.left.add(string(w.path), "cannot be read")
		return nil
	}
	return w.wrap(err)
}

// name looks at a name in a folder, which is at w.path.
func (w *walk) name(folder int, name string, depth int) error {
	old := w.lastSeen()
	if old == nil && excludes(w.exclude, string(w.path)) { // the last snapshot had nothing that is
		return nil
	}
	var st unix.Stat_t
	_, err := nofollow.Retry(func() (int, error) { return 0, unix.Fstatat(folder, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	switch {
	case err != nil:
		return w.passOver(err)
	case len(w.path) > maxPath:
		w.left.add(string(w.path), "has too long a path")
		return nil
	}
	w.paths += int64(len(w.path))
	if len(w.items) >= w.maxEntries || w.paths > maxPaths {
		return w.tooMany()
	}
	sig := signatureOf(&st)
	switch sig.mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return w.subfolder(folder, name, depth, old, sig)
	case unix.S_IFLNK:
		return w.symlink(folder, name, old, sig)
	case unix.S_IFREG:
		w.file(old, sig)
	default:
		w.left.add(string(w.path), "is no file, folder or link")
	}
	return nil
}

// lastSeen gives what the last snapshot had at w.path.
func (w *walk) lastSeen() *item {
	for ; w.next < len(w.old); w.next++ {
		switch order := comparePaths(w.old[w.next].path, w.path); {
		case order == 0:
			return w.old[w.next]
		case order > 0:
			return nil
		}
	}
	return nil
}

// excludes tells whether a pattern leaves a path out.
func excludes(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return doublestar.MatchUnvalidated(pattern, path) })
}

// unchanged tells whether the last snapshot saw the same.
func unchanged(old *item, kind record.EntryType, sig signature) bool {
	return old != nil && old.kind == kind && old.sig == sig && !old.racy
}

func (w *walk) item(kind record.EntryType, sig signature) *item {
	it := newItem(string(w.path), kind, sig)
	it.racy = !w.settled(sig.ctime)
	return it
}

func (w *walk) subfolder(parent int, name string, depth int, old *item, sig signature) error {
	if depth >= maxDepth {
		w.left.add(string(w.path), "is in too many folders")
		return nil
	}
	fd, err := nofollow.OpenFolder(parent, name)
	if err != nil {
		return w.passOver(err)
	}
	defer nofollow.Close(fd)
	if old == nil || old.kind != record.EntryFolder || old.sig != sig { // nothing of a folder is read later
		old = w.item(record.EntryFolder, sig)
	}
	w.items = append(w.items, old)
	return w.folder(fd, depth+1)
}

func (w *walk) symlink(folder int, name string, old *item, sig signature) error {
	if unchanged(old, record.EntrySymlink, sig) {
		w.items = append(w.items, old)
		return nil
	}
	buf := make([]byte, maxTarget+1)
	n, err := nofollow.Retry(func() (int, error) { return unix.Readlinkat(folder, name, buf) })
	if err != nil {
		if nofollow.Gone(err) || errors.Is(err, unix.EINVAL) { // it is no link any more
			return nil
		}
		return w.wrap(err)
	}
	if n > maxTarget {
		w.left.add(string(w.path), "is a link with too long a text")
		return nil
	}
	it := w.item(record.EntrySymlink, sig)
	it.target = string(buf[:n])
	w.items = append(w.items, it)
	return nil
}

func (w *walk) file(old *item, sig signature) {
	if sig.nlink > 1 {
		if first := w.first[sig.inode()]; first != nil {
			w.hardLink(first, old, sig)
			return
		}
	}
	w.bytes = addSizes(w.bytes, sig.size)
	it := old
	if !unchanged(old, record.EntryFile, sig) {
		it = w.item(record.EntryFile, sig)
		w.pending = append(w.pending, len(w.items))
	}
	if sig.nlink > 1 {
		w.remember(it)
	}
	w.items = append(w.items, it)
}

func (w *walk) hardLink(first, old *item, sig signature) {
	if !unchanged(old, record.EntryHardLink, sig) || old.target != first.path {
		old = w.item(record.EntryHardLink, sig)
		old.target = first.path
	}
	w.pending = append(w.pending, len(w.items))
	w.items = append(w.items, old)
}

func (w *walk) remember(first *item) {
	if w.first == nil {
		w.first = map[inode]*item{}
	}
	w.first[first.sig.inode()] = first
}

// addSizes adds what somebody else has chosen.
func addSizes(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

const (
	maxLeftOut      = 100
	maxLeftOutBytes = 300
)

// leftOut names what is not in a snapshot.
type leftOut struct {
	names []string
	more  int
}

func (l *leftOut) add(path, why string) {
	if len(l.names) >= maxLeftOut-1 {
		l.more++
		return
	}
	l.names = append(l.names, text.ClipStart(text.Inline(path), maxLeftOutBytes)+" "+why)
}

func (l *leftOut) list() []string {
	if l.more == 0 {
		return l.names
	}
	return append(l.names, fmt.Sprintf("and %d more", l.more))
}
