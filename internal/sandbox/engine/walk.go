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
	"github.com/sampan-dev/sampan/internal/textfile"
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
// symlinks and without .git and our own .sampan. What it cannot read it notes;
// what git ignores comes last, or not at all.
type walker struct {
	ctx context.Context
	e   *Engine
	// base is the path of the folder in the workspace.
	base    string
	entries int
	notes   notes
	// visit gets each file and folder: the open folder it is in, its name
	// there, and its path relative to where the walk began.
	visit func(dir *os.Root, name, rel string, isDir bool) error
	// about says which of the files that are passed over are worth a word.
	about func(rel string) bool
	// all keeps what is ignored for later; else it is counted.
	all     bool
	later   []string
	skipped tool.Skipped
}

const (
	// maxLater bounds the ignored folders and files that are kept for the end.
	maxLater = 100_000
	// maxSkippedNames are enough to know what was passed over.
	maxSkippedNames = 3
)

// newWalker gives a walker for a search in base. Where the search is about
// something that is ignored itself, by its path or by the beginning of a glob,
// nothing below it is taken for ignored.
func (e *Engine) newWalker(ctx context.Context, base, glob string, all bool) (*walker, *ignoreDir) {
	w := &walker{ctx: ctx, e: e, base: base, all: all}
	chain, off := e.ignoresAbove(base)
	if start, _ := doublestar.SplitPattern(strings.TrimPrefix(glob, "./")); !off && start != "." && start != "/" && !path.IsAbs(start) {
		_, off = e.ignoresAbove(path.Join(base, start))
	}
	if off {
		return w, nil
	}
	return w, chain
}

// run goes through dir, first what is not ignored, then the rest if it is wanted.
func (w *walker) run(dir *os.Root, chain *ignoreDir) error {
	if err := w.walk(dir, "", 0, chain); err != nil {
		return err
	}
	for _, rel := range w.later {
		if err := w.ignoredEntry(dir, rel); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) ignoredEntry(dir *os.Root, rel string) error {
	isDir := strings.HasSuffix(rel, "/")
	rel = strings.TrimSuffix(rel, "/")
	parent, err := dir.OpenRoot(path.Dir(rel))
	if err != nil {
		w.notes.add("%s was skipped: %v", rel, rootCause(err))
		return nil
	}
	defer func() { _ = parent.Close() }()
	if err := w.visit(parent, path.Base(rel), rel, isDir); err != nil || !isDir {
		return err
	}
	return w.descend(parent, path.Base(rel), rel, strings.Count(rel, "/")+1, nil)
}

// walk goes through dir, whose path from the beginning is rel.
func (w *walker) walk(dir *os.Root, rel string, depth int, chain *ignoreDir) error {
	entries, err := w.list(dir, rel)
	if err != nil {
		return err
	}
	if chain != nil && depth > 0 {
		chain = w.e.enterIgnored(chain, dir, path.Join(w.base, rel), func(name string) bool {
			_, found := slices.BinarySearchFunc(entries, name, func(d fs.DirEntry, name string) int { return strings.Compare(d.Name(), name) })
			return found
		})
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
		if name == ".git" || sub == ".sampan" || !d.IsDir() && !d.Type().IsRegular() {
			continue
		}
		if err := w.entry(dir, name, sub, d.IsDir(), depth, chain); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) entry(dir *os.Root, name, sub string, isDir bool, depth int, chain *ignoreDir) error {
	if chain != nil {
		ignored, inside := chain.ignored(path.Join(w.base, sub), isDir)
		if ignored {
			w.ignore(sub, isDir)
			return nil
		}
		chain = inside
	}
	if err := w.visit(dir, name, sub, isDir); err != nil || !isDir {
		return err
	}
	return w.descend(dir, name, sub, depth+1, chain)
}

// ignore keeps an entry for later, or counts it.
func (w *walker) ignore(sub string, isDir bool) {
	name := sub
	if isDir {
		name += "/"
	}
	switch {
	case w.all && len(w.later) < maxLater:
		w.later = append(w.later, name)
		return
	case isDir:
		w.skipped.Dirs++
	case w.about == nil || w.about(sub):
		w.skipped.Files++
	default:
		return
	}
	if len(w.skipped.Names) < maxSkippedNames {
		w.skipped.Names = append(w.skipped.Names, textfile.ShowName(path.Join(w.base, sub))+name[len(sub):])
	}
}

func (w *walker) descend(dir *os.Root, name, sub string, depth int, chain *ignoreDir) error {
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
	return w.walk(next, sub, depth, chain)
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
	n.list = append(n.list, textfile.ShowName(fmt.Sprintf(format, args...)))
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
	if at := e.otherPath(rel, err); at != rel {
		rel = at
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
	w, chain := e.newWalker(ctx, base, req.Pattern, req.Ignored)
	w.about = match
	w.visit = func(_ *os.Root, _, rel string, isDir bool) error {
		if !match(rel) {
			return nil
		}
		if res.Total++; res.Total > req.MaxPaths {
			res.Truncated = true
			return nil
		}
		p := textfile.ShowName(path.Join(base, rel))
		if isDir {
			p += "/"
		}
		res.Paths = append(res.Paths, p)
		return nil
	}
	if err := w.run(dir, chain); errors.Is(err, errStop) {
		res.Truncated = true
	} else if err != nil {
		return nil, err
	}
	res.Notes, res.Skipped = w.notes.all(), w.skipped
	return res, nil
}
