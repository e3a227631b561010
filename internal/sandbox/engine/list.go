package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/textfile"
)

// Bounds of one list of a folder.
const (
	defaultListEntries = 1000
	capListEntries     = 10_000
)

// Entry is what a folder holds under one name.
type Entry struct {
	// Name is as package textfile shows it; the other requests for files know it so.
	Name string
	Info fs.FileInfo
	// Target is where a symlink leads.
	Target string
}

// List gives the entries of a folder after a name, in the order of names, and whether
// there are more. Where limit is 0 it is the default.
func (e *Engine) List(ctx context.Context, p, after string, limit int) (rel string, entries []Entry, more bool, err error) {
	e.touch()
	dir, rel, err := e.openDir(p)
	if err != nil {
		return "", nil, false, err
	}
	defer func() { _ = dir.Close() }()
	switch {
	case limit < 0:
		return "", nil, false, fmt.Errorf("%w: %d entries", tool.ErrInvalid, limit)
	case limit == 0:
		limit = defaultListEntries
	}
	limit = min(limit, capListEntries)
	names, more, err := firstNames(ctx, dir, after, limit)
	if err != nil {
		return "", nil, false, mapError(rel, err)
	}
	for _, n := range names {
		info, err := dir.Lstat(n.name)
		if err != nil {
			continue // it is gone by now
		}
		entry := Entry{Name: n.shown, Info: info}
		if info.Mode()&fs.ModeSymlink != 0 {
			target, err := dir.Readlink(n.name)
			if err != nil {
				continue // the same
			}
			entry.Target = textfile.ShowName(target)
		}
		entries = append(entries, entry)
	}
	return rel, entries, more, nil
}

// shownName is a name and how it is shown.
type shownName struct{ name, shown string }

// firstNames gives the first of a folder's names after one, however many there are.
func firstNames(ctx context.Context, dir *os.Root, after string, limit int) (names []shownName, more bool, err error) {
	f, err := dir.Open(".")
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = f.Close() }()
	for {
		batch, err := f.Readdirnames(dirBatch)
		for _, name := range batch {
			if shown := textfile.ShowName(name); shown > after {
				names = append(names, shownName{name, shown})
			}
		}
		if len(names) > limit+dirBatch || err != nil {
			slices.SortFunc(names, func(a, b shownName) int { return strings.Compare(a.shown, b.shown) })
			if len(names) > limit {
				names, more = names[:limit], true
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return names, more, nil
		case err != nil:
			return nil, false, err
		case ctx.Err() != nil:
			return nil, false, context.Cause(ctx)
		}
	}
}

// RemoveIf is Remove of a regular file that still has a digest.
func (e *Engine) RemoveIf(ctx context.Context, p, digest string) error {
	if digest == "" {
		return e.Remove(ctx, p)
	}
	e.touch()
	rel, err := e.clean(p)
	if err != nil {
		return err
	}
	dir, err := e.root.OpenRoot(path.Dir(rel))
	if err != nil {
		return mapError(rel, err)
	}
	defer func() { _ = dir.Close() }()
	w := &write{e: e, rel: rel, dir: dir, base: path.Base(rel), opts: tool.WriteOptions{IfMatch: digest}}
	e.writes.Lock()
	defer e.writes.Unlock()
	t, err := w.open()
	if err != nil {
		return err
	}
	t.close()
	return mapError(rel, dir.Remove(w.base))
}
