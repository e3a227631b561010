package outputs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sampan-dev/sampan/internal/runner/nofollow"
	"github.com/sampan-dev/sampan/internal/text"
)

const (
	// maxEntries bounds what is taken of a workspace, and maxDepth the folders that are
	// open at a time.
	maxEntries, maxDepth = 500_000, 1000
	namesAtOnce          = 1024
	// maxTarget bounds a link's text, on every file system.
	maxTarget = 4095
)

// entry is something that a walk has come to.
type entry struct {
	folder     int
	name, path string
	kind       uint32
	// target is a link's text.
	target string
}

// walker walks a folder in the order of the names.
type walker struct {
	// enter says whether to look at a name at all; nil is always.
	enter func(folder int, name, path string, isFolder bool) (bool, error)
	// entered is told of each folder that is open, before what is in it; it gives what
	// is called at its end. nil is nothing.
	entered func(fd int, path string) (func(), error)
	visit   func(entry) error
	left    leftOut
	seen    int
}

func (w *walker) folder(fd int, at string, depth int) error {
	if w.entered != nil {
		leave, err := w.entered(fd, at)
		if err != nil {
			return err
		}
		defer leave()
	}
	names, err := w.names(fd)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := w.name(fd, name, join(at, name), depth); err != nil {
			return err
		}
	}
	return nil
}

func join(folder, name string) string {
	if folder == "" {
		return name
	}
	return folder + "/" + name
}

func (w *walker) name(folder int, name, path string, depth int) error {
	var st unix.Stat_t
	_, err := nofollow.Retry(func() (int, error) { return 0, unix.Fstatat(folder, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	if err != nil {
		return w.passed(path, err)
	}
	e := entry{folder: folder, name: name, path: path, kind: uint32(st.Mode) & unix.S_IFMT} //nolint:unconvert // its type depends on the system
	if w.enter != nil {
		if in, err := w.enter(folder, name, path, e.kind == unix.S_IFDIR); err != nil || !in {
			return err
		}
	}
	switch e.kind {
	case unix.S_IFDIR:
		return w.subfolder(e, depth)
	case unix.S_IFLNK:
		buf := make([]byte, maxTarget+1)
		n, err := nofollow.Retry(func() (int, error) { return unix.Readlinkat(folder, name, buf) })
		if err != nil {
			return w.passed(path, err)
		}
		e.target = string(buf[:n])
	case unix.S_IFREG:
	default:
		w.left.add(path, "is no file, folder or link")
		return nil
	}
	return w.passed(path, w.visit(e))
}

func (w *walker) subfolder(e entry, depth int) error {
	if depth >= maxDepth {
		return fmt.Errorf("%q is in more than %d folders", e.path, maxDepth)
	}
	fd, err := nofollow.OpenFolder(e.folder, e.name)
	if err != nil {
		return w.passed(e.path, err)
	}
	defer nofollow.Close(fd)
	if err := w.visit(e); err != nil {
		return err
	}
	return w.folder(fd, e.path, depth+1)
}

// passed leaves out what is gone, or may not be read.
func (w *walker) passed(path string, err error) error {
	switch {
	case err == nil:
		return nil
	case nofollow.Denied(err):
		w.left.add(path, "cannot be read")
		return nil
	case nofollow.Gone(err), errors.Is(err, errNoFile):
		return nil
	}
	return fmt.Errorf("%q: %w", path, err)
}

func (w *walker) names(fd int) ([]string, error) {
	again, err := nofollow.OpenFolder(fd, ".") // what reads names moves in its descriptor, and closes it
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(again), ".")
	defer f.Close() //nolint:errcheck // only read
	var names []string
	for {
		more, err := f.Readdirnames(namesAtOnce)
		names = append(names, more...)
		if w.seen += len(more); w.seen > maxEntries {
			return nil, fmt.Errorf("has more than %d files, folders and links", maxEntries)
		}
		if errors.Is(err, io.EOF) {
			slices.Sort(names)
			return names, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// maxNamed is how many of what is left out are named.
const maxNamed = 3

// leftOut names what is not in an output.
type leftOut struct {
	named []string
	more  int
}

func (l *leftOut) add(path, why string) {
	if len(l.named) >= maxNamed {
		l.more++
		return
	}
	l.named = append(l.named, text.ClipStart(text.Inline(path), 60)+" "+why)
}

func (l *leftOut) names() []string {
	if l.more > 0 {
		return append(l.named, fmt.Sprintf("and %d more", l.more))
	}
	return l.named
}

// leaves says it in a line.
func leaves(left []string) string {
	if len(left) == 0 {
		return ""
	}
	return "left out: " + strings.Join(left, ", ")
}
