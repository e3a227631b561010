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

	"github.com/bmatcuk/doublestar/v4"

	"github.com/sampan-dev/sampan/internal/harness/tool"
)

// Bounds of one search.
const (
	maxWalkEntries = 500_000
	maxWalkDepth   = 64
	maxDirEntries  = 100_000
	maxNotes       = 10
)

// errStop ends a walk that has found enough.
var errStop = errors.New("enough")

// walker goes through a folder in the order of names, without following
// symlinks and without .git and our own .sampan. What it cannot read it notes.
type walker struct {
	ctx     context.Context
	entries int
	notes   notes
	// visit gets each file and folder: the open folder it is in, its name
	// there, and its path relative to where the walk began.
	visit func(dir *os.Root, name, rel string, isDir bool) error
}

// walk goes through dir, whose path from the beginning is rel.
func (w *walker) walk(dir *os.Root, rel string, depth int) error {
	entries, err := w.list(dir, rel)
	if err != nil {
		return err
	}
	for _, d := range entries {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		if w.entries++; w.entries > maxWalkEntries {
			w.notes.add("the search ended after %d files", maxWalkEntries)
			return errStop
		}
		name := d.Name()
		sub := path.Join(rel, name)
		switch {
		case d.IsDir() && (name == ".git" || sub == ".sampan"):
		case d.IsDir():
			if err := w.visit(dir, name, sub, true); err != nil {
				return err
			}
			if err := w.descend(dir, name, sub, depth+1); err != nil {
				return err
			}
		case d.Type().IsRegular():
			if err := w.visit(dir, name, sub, false); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *walker) descend(dir *os.Root, name, sub string, depth int) error {
	if depth > maxWalkDepth {
		w.notes.add("%s was skipped: more than %d directories deep", sub, maxWalkDepth)
		return nil
	}
	// Of this very folder: were it a symlink by now, it could only lead to
	// somewhere else in dir.
	next, err := dir.OpenRoot(name)
	if err != nil {
		w.notes.add("%s was skipped: %v", sub, rootCause(err))
		return nil
	}
	defer func() { _ = next.Close() }()
	return w.walk(next, sub, depth)
}

func (w *walker) list(dir *os.Root, rel string) ([]fs.DirEntry, error) {
	f, err := dir.Open(".")
	if err != nil {
		w.notes.add("%s was skipped: %v", path.Join(".", rel), rootCause(err))
		return nil, nil
	}
	defer func() { _ = f.Close() }()
	entries, err := f.ReadDir(maxDirEntries)
	if err != nil && !errors.Is(err, io.EOF) {
		w.notes.add("%s was skipped: %v", path.Join(".", rel), rootCause(err))
		return nil, nil
	}
	if len(entries) == maxDirEntries {
		w.notes.add("%s has more than %d entries: the rest was skipped", path.Join(".", rel), maxDirEntries)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// notes are what a search has to tell, up to a bound.
type notes struct {
	list []string
	more int
}

func (n *notes) add(format string, args ...any) {
	if len(n.list) >= maxNotes {
		n.more++
		return
	}
	n.list = append(n.list, strings.ToValidUTF8(fmt.Sprintf(format, args...), "\uFFFD"))
}

func (n *notes) all() []string {
	if n.more == 0 {
		return n.list
	}
	return append(n.list, fmt.Sprintf("and %d more were skipped", n.more))
}

// openDir opens the folder that a search begins in.
func (e *Engine) openDir(p string) (dir *os.Root, rel string, err error) {
	if p == "" {
		p = "."
	}
	if rel, err = e.clean(p); err != nil {
		return nil, "", err
	}
	st, err := e.root.Stat(rel)
	if errors.Is(err, errEscapes()) {
		rel = e.insideLinks(rel)
		st, err = e.root.Stat(rel)
	}
	if err == nil && !st.IsDir() {
		return nil, rel, fmt.Errorf("%w: %s is not a directory", tool.ErrInvalid, rel)
	}
	if err == nil {
		dir, err = e.root.OpenRoot(rel)
	}
	return dir, rel, mapError(rel, err)
}

// matcher gives a test for a glob. One without a slash is for names at any depth.
func (e *Engine) matcher(pattern string) (func(rel string) bool, error) {
	p := strings.TrimPrefix(pattern, "./")
	if path.IsAbs(p) {
		rel, ok := e.relative(p)
		if !ok {
			return nil, fmt.Errorf("%s: %w (%s)", pattern, tool.ErrOutsideWorkspace, e.workspace)
		}
		p = rel
	}
	if p == "" || strings.IndexByte(p, 0) >= 0 || len(p) > maxPathBytes || !doublestar.ValidatePattern(p) {
		return nil, fmt.Errorf("%w: %q is not a valid glob", tool.ErrInvalid, pattern)
	}
	for part := range strings.SplitSeq(p, "/") {
		if part == ".." {
			return nil, fmt.Errorf("%w: a glob cannot hold ..; use path", tool.ErrInvalid)
		}
	}
	if !strings.Contains(p, "/") && p != "**" {
		return func(rel string) bool { return doublestar.MatchUnvalidated(p, path.Base(rel)) }, nil
	}
	return func(rel string) bool { return doublestar.MatchUnvalidated(p, rel) }, nil
}

const (
	defaultGlobPaths = 1000
	capGlobPaths     = 20_000
)

// Glob implements tool.Executor.
func (e *Engine) Glob(ctx context.Context, req tool.GlobRequest) (*tool.GlobResult, error) {
	e.touch()
	match, err := e.matcher(req.Pattern)
	if err != nil {
		return nil, err
	}
	dir, base, err := e.openDir(req.Path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	if req.MaxPaths <= 0 {
		req.MaxPaths = defaultGlobPaths
	}
	req.MaxPaths = min(req.MaxPaths, capGlobPaths)
	res := &tool.GlobResult{}
	w := &walker{ctx: ctx}
	w.visit = func(_ *os.Root, _, rel string, isDir bool) error {
		if !match(rel) {
			return nil
		}
		if res.Total++; res.Total > req.MaxPaths {
			res.Truncated = true
			return nil
		}
		p := strings.ToValidUTF8(path.Join(base, rel), "\uFFFD")
		if isDir {
			p += "/"
		}
		res.Paths = append(res.Paths, p)
		return nil
	}
	if err := w.walk(dir, "", 0); errors.Is(err, errStop) {
		res.Truncated = true
	} else if err != nil {
		return nil, err
	}
	res.Notes = w.notes.all()
	return res, nil
}
