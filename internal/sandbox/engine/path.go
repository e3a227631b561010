package engine

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"
	"syscall"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/textfile"
)

// maxPathBytes is Linux's PATH_MAX.
const maxPathBytes = 4096

// clean turns a path of a request into one relative to the workspace. It only
// looks at the text: that symlinks do not lead outside is os.Root's work.
func (e *Engine) clean(p string) (string, error) {
	switch {
	case p == "":
		return "", fmt.Errorf("%w: the path is empty", tool.ErrInvalid)
	case len(p) > maxPathBytes:
		return "", fmt.Errorf("%w: the path has %d bytes, more than %d", tool.ErrInvalid, len(p), maxPathBytes)
	case strings.IndexByte(p, 0) >= 0:
		return "", fmt.Errorf("%w: the path holds a NUL byte", tool.ErrInvalid)
	}
	c := path.Clean(p)
	if path.IsAbs(c) {
		rel, ok := e.relative(c)
		if !ok {
			return "", fmt.Errorf("%s: %w (%s)", p, tool.ErrOutsideWorkspace, e.workspace)
		}
		return rel, nil
	}
	if c == ".." || strings.HasPrefix(c, "../") {
		return "", fmt.Errorf("%s: %w (%s)", p, tool.ErrOutsideWorkspace, e.workspace)
	}
	return c, nil
}

func (e *Engine) relative(abs string) (string, bool) {
	for _, w := range append([]string{e.workspace}, e.aliases...) {
		if abs == w {
			return ".", true
		}
		if rel, ok := strings.CutPrefix(abs, strings.TrimSuffix(w, "/")+"/"); ok {
			return rel, true
		}
	}
	return "", false
}

// errEscapes is what os.Root says of a path that leads outside. The package
// does not export it, so it is asked for once.
var errEscapes = sync.OnceValue(func() error {
	r, err := os.OpenRoot("/")
	if err != nil {
		return errors.ErrUnsupported
	}
	defer func() { _ = r.Close() }()
	_, err = r.Lstat("..")
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return errors.ErrUnsupported
})

// mapped pairs what the system says with what an Executor says. The order matters:
// fs.ErrPermission also covers EROFS's neighbours.
var mapped = []struct{ from, to error }{
	{fs.ErrNotExist, tool.ErrNotFound},
	{syscall.ENOTDIR, tool.ErrNotFound},
	{syscall.EISDIR, tool.ErrIsDirectory},
	{syscall.ENOTEMPTY, tool.ErrNotEmpty},
	{syscall.EROFS, tool.ErrPermission},
	{fs.ErrPermission, tool.ErrPermission},
	{syscall.ETXTBSY, tool.ErrPermission},
	{syscall.ENOSPC, tool.ErrNoSpace},
	{syscall.EDQUOT, tool.ErrNoSpace},
	{syscall.EFBIG, tool.ErrNoSpace},
	{syscall.ENAMETOOLONG, tool.ErrInvalid},
	{syscall.ELOOP, tool.ErrInvalid},
	{syscall.EINVAL, tool.ErrInvalid},
	{syscall.ENXIO, tool.ErrNotRegular},
	{syscall.ENODEV, tool.ErrNotRegular},
}

// mapError gives an error of the file system the Executor's words; one that
// has them is given back as it is.
func mapError(p string, err error) error {
	if err == nil || isMapped(err) {
		return err
	}
	if errors.Is(err, errEscapes()) {
		return fmt.Errorf("%s: %w: a symlink or .. leads out of it", p, tool.ErrOutsideWorkspace)
	}
	for _, m := range mapped {
		if errors.Is(err, m.from) {
			if errors.Is(m.to, tool.ErrInvalid) {
				// Told, not wrapped: the Executor's word for it is the only one.
				return fmt.Errorf("%s: %w: %s", p, m.to, rootCause(err).Error())
			}
			if errors.Is(m.to, tool.ErrPermission) && !errors.Is(err, syscall.EACCES) {
				return fmt.Errorf("%s: %w (%s)", p, m.to, rootCause(err).Error())
			}
			return fmt.Errorf("%s: %w", p, m.to)
		}
	}
	return fmt.Errorf("%s: %w", p, rootCause(err))
}

// otherPath gives the path that is meant by one which has failed so, or the same.
func (e *Engine) otherPath(rel string, err error) string {
	switch {
	case errors.Is(err, errEscapes()):
		return e.insideLinks(rel)
	case errors.Is(err, fs.ErrNotExist):
		return e.unshown(rel)
	}
	return rel
}

func isMapped(err error) bool {
	for _, m := range mapped {
		if errors.Is(err, m.to) {
			return true
		}
	}
	return errors.Is(err, tool.ErrPreconditionFailed) || errors.Is(err, tool.ErrTooLarge) || errors.Is(err, tool.ErrOutsideWorkspace)
}

// insideLinks follows the absolute symlinks of a path that lead to somewhere
// inside the workspace, which os.Root refuses like any absolute one. Only the
// text changes: os.Root still takes every step of what comes out.
func (e *Engine) insideLinks(rel string) string {
	for range maxLinks {
		next, changed := e.insideLink(rel)
		if !changed {
			return rel
		}
		rel = next
	}
	return rel
}

func (e *Engine) insideLink(rel string) (string, bool) {
	for i := 1; i <= len(rel); i++ {
		if i < len(rel) && rel[i] != '/' {
			continue
		}
		to, err := e.root.Readlink(rel[:i])
		if err != nil || !path.IsAbs(to) || strings.Contains(to+"/", "/../") {
			continue // no link, or one that os.Root decides on
		}
		if in, ok := e.relative(path.Clean(to)); ok {
			return path.Clean(in + rel[i:]), true
		}
		return rel, false
	}
	return rel, false
}

// unshown finds the file that a search has listed under this path, where its
// name is not what can be written in JSON, or on a line.
func (e *Engine) unshown(rel string) string {
	if !textfile.IsShown(rel) {
		return rel
	}
	at := ""
	for name := range strings.SplitSeq(rel, "/") {
		next := path.Join(at, name)
		if _, err := e.root.Lstat(next); err != nil && textfile.IsShown(name) {
			next = path.Join(at, e.named(at, name))
		}
		at = next
	}
	return at
}

// named gives the entry of a folder that is shown by a name, or that name.
func (e *Engine) named(dir, shown string) string {
	f, err := e.root.Open(path.Join(".", dir))
	if err != nil {
		return shown
	}
	defer func() { _ = f.Close() }()
	entries, err := f.Readdirnames(maxDirEntries)
	if err != nil && !errors.Is(err, io.EOF) {
		return shown
	}
	for _, name := range entries {
		if textfile.ShowName(name) == shown {
			return name
		}
	}
	return shown
}

// rootCause drops the call and the path that fs.PathError repeats.
func rootCause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
