package snapshot

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/bmatcuk/doublestar/v4"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/runner/nofollow"
)

// maxWalks bounds how many folders are looked at at the same time.
const maxWalks = 4

// tour looks at a folder and all in it, without opening a file. What it finds as the
// last snapshot saw it is that one's item, itself.
type tour struct {
	ctx     context.Context
	exclude []string
	// maxEntries bounds the items.
	maxEntries int
	// old are the items of the last snapshot.
	old []*item
	// settled tells of a time of change whether a later one will be another.
	settled func(int64) bool

	group *errgroup.Group
	// busy has an element for each walk that is under way.
	busy chan struct{}
	// entries counts what was found, paths is the sum of the lengths of all paths.
	entries, paths atomic.Int64
}

// run walks an open folder, whose place for the names that it gives next it moves.
func (t *tour) run(root int) (*found, error) {
	t.group, t.ctx = errgroup.WithContext(t.ctx)
	t.busy = make(chan struct{}, min(maxWalks, runtime.GOMAXPROCS(0)))
	w := &walk{tour: t}
	t.busy <- struct{}{}
	t.start(w, func() error { return w.folder(root, 1) })
	if err := t.group.Wait(); err != nil {
		return nil, err
	}
	f := &found{items: make([]*item, 0, t.entries.Load())}
	f.linkAll(w.join(f))
	return f, nil
}

// start has a walk go on by itself, whose place in busy was taken.
func (t *tour) start(w *walk, do func() error) {
	t.group.Go(func() error {
		defer func() { <-t.busy }()
		defer w.end()
		return do()
	})
}

func (t *tour) tooMany() error {
	return &TooLargeError{Entries: int64(t.maxEntries) + 1, MaxEntries: int64(t.maxEntries)}
}

// walk is a part of a tour: a folder and all in it that no other walk looks at.
type walk struct {
	*tour
	// next is the first of the old items that was not passed.
	next  int
	items []*item
	// notes are on items, or on what comes before them, in their order.
	notes []note
	// left counts those on what is left out, more what there is beyond these.
	left, more int
	// path is where it is, stat and names are for what is there.
	path  []byte
	stat  unix.Stat_t
	names *[namesBuffer]byte
}

// note is what a walk has to say at a place in its items.
type note struct {
	at int
	// other is a walk whose items belong before the one at this place.
	other *walk
	// left names what is left out.
	left string
	// linked: the item is a file with several names. changed: its content has to be read.
	linked, changed bool
}

// folder walks an open folder, depth of which are open.
func (w *walk) folder(fd, depth int) error {
	if err := w.ctx.Err(); err != nil {
		return context.Cause(w.ctx)
	}
	names, err := w.list(fd)
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

// namesBuffer is how many bytes of a folder are read at once.
const namesBuffer = 32 << 10

var namesBuffers = sync.Pool{New: func() any { return new([namesBuffer]byte) }}

// list gives the names in a folder, in their order.
func (w *walk) list(fd int) ([]string, error) {
	if w.names == nil {
		w.names = namesBuffers.Get().(*[namesBuffer]byte)
	}
	var names []string
	for {
		n, err := nofollow.Retry(func() (int, error) { return unix.ReadDirent(fd, w.names[:]) })
		if err == nil && n == 0 || err != nil && nofollow.Gone(err) {
			slices.Sort(names)
			return names, nil
		}
		if err != nil {
			return nil, w.wrap(err)
		}
		_, _, names = unix.ParseDirent(w.names[:n], -1, names)
		if w.entries.Load()+int64(len(names)) > int64(w.maxEntries) {
			return nil, w.tooMany()
		}
	}
}

// end gives back what a walk needs no more.
func (w *walk) end() {
	if w.names != nil {
		namesBuffers.Put(w.names)
		w.names = nil
	}
}

func (w *walk) wrap(err error) error { return fmt.Errorf("looking at %q: %w", w.path, err) }

// passOver goes on where w.path could not be looked at: it is gone, or left out. Any other
// error ends the walk.
func (w *walk) passOver(err error) error {
	switch {
	case nofollow.Gone(err):
		return nil
	case nofollow.Denied(err):
		w.leave("cannot be read")
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
	_, err := nofollow.Retry(func() (int, error) { return 0, unix.Fstatat(folder, name, &w.stat, unix.AT_SYMLINK_NOFOLLOW) })
	switch {
	case err != nil:
		return w.passOver(err)
	case len(w.path) > maxPath:
		w.leave("has too long a path")
		return nil
	}
	if w.paths.Add(int64(len(w.path))) > maxPaths || w.entries.Load() >= int64(w.maxEntries) {
		return w.tooMany()
	}
	sig := signatureOf(&w.stat)
	switch sig.mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return w.subfolder(folder, name, depth, old, sig)
	case unix.S_IFLNK:
		return w.symlink(folder, name, old, sig)
	case unix.S_IFREG:
		w.file(old, sig)
	default:
		w.leave("is no file, folder or link")
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
func unchanged(old *item, sig signature) bool { return old != nil && old.sig == sig && !old.racy }

func (w *walk) item(kind record.EntryType, sig signature) *item {
	it := newItem(string(w.path), kind, sig)
	it.racy = !w.settled(sig.ctime)
	return it
}

func (w *walk) subfolder(parent int, name string, depth int, old *item, sig signature) error {
	if depth >= maxDepth {
		w.leave("is in too many folders")
		return nil
	}
	fd, err := nofollow.OpenFolder(parent, name)
	if err != nil {
		return w.passOver(err)
	}
	if old == nil || old.kind != record.EntryFolder || old.sig != sig { // nothing of a folder is read later
		old = w.item(record.EntryFolder, sig)
	}
	w.add(old)
	select {
	case w.busy <- struct{}{}:
		w.another(fd, depth+1)
		return nil
	default:
	}
	defer nofollow.Close(fd)
	return w.folder(fd, depth+1)
}

// another has another walk look at the folder at w.path, which it closes.
func (w *walk) another(fd, depth int) {
	other := &walk{tour: w.tour, next: w.next, path: slices.Clone(w.path)}
	w.notes = append(w.notes, note{at: len(w.items), other: other})
	w.start(other, func() error {
		defer nofollow.Close(fd)
		return other.folder(fd, depth)
	})
}

func (w *walk) symlink(folder int, name string, old *item, sig signature) error {
	if unchanged(old, sig) && old.kind == record.EntrySymlink {
		w.add(old)
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
		w.leave("is a link with too long a text")
		return nil
	}
	it := w.item(record.EntrySymlink, sig)
	it.target = string(buf[:n])
	w.add(it)
	return nil
}

// file finds a file. Which of several names is the first shows when all walks have ended.
func (w *walk) file(old *item, sig signature) {
	same := unchanged(old, sig) && (old.kind == record.EntryFile || old.kind == record.EntryHardLink && sig.nlink > 1)
	if !same {
		old = w.item(record.EntryFile, sig)
	}
	if linked := sig.nlink > 1; linked || !same {
		w.notes = append(w.notes, note{at: len(w.items), linked: linked, changed: !same})
	}
	w.add(old)
}

func (w *walk) add(it *item) {
	w.items = append(w.items, it)
	w.entries.Add(1)
}

// leave leaves out what is at w.path.
func (w *walk) leave(why string) {
	if w.left >= maxLeftOut-1 {
		w.more++
		return
	}
	w.left++
	w.notes = append(w.notes, note{at: len(w.items), left: leftWords(string(w.path), why)})
}
