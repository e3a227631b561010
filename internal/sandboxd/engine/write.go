package engine

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"github.com/sampan-dev/sampan/internal/harness/tool"
)

// maxLinks is how many symlinks a written path may go through at its end.
const maxLinks = 16

// WriteFile implements tool.Executor.
func (e *Engine) WriteFile(ctx context.Context, p string, data []byte, opts tool.WriteOptions) (*tool.FileInfo, error) {
	return e.WriteFrom(ctx, p, bytes.NewReader(data), opts)
}

// WriteFrom is WriteFile from a stream, so that a large upload needs no
// memory. A stream that fails leaves the old file as it was.
func (e *Engine) WriteFrom(ctx context.Context, p string, src io.Reader, opts tool.WriteOptions) (*tool.FileInfo, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	e.touch()
	rel, err := e.clean(p)
	if err != nil {
		return nil, err
	}
	if rel == "." {
		return nil, fmt.Errorf("%s: %w", p, tool.ErrIsDirectory)
	}
	dir, base, err := e.openParent(rel)
	if err != nil {
		return nil, mapError(rel, err)
	}
	defer func() { _ = dir.Close() }()
	w := &write{rel: rel, dir: dir, base: base, opts: opts}
	// Refuse before reading the body where that can be known already.
	if _, err := w.check(); err != nil {
		return nil, err
	}
	if err := w.fill(ctx, src); err != nil {
		return nil, err
	}
	e.writes.Lock()
	defer e.writes.Unlock()
	return w.commit()
}

// openParent opens the folder that really holds the file, making it if it is
// missing. A symlink at the end is followed, so that writing to a link changes
// the file it points to; every step stays inside the workspace, because each is
// taken by os.Root.
func (e *Engine) openParent(rel string) (*os.Root, string, error) {
	for range maxLinks {
		dirName, base := ".", rel
		if i := strings.LastIndexByte(rel, '/'); i >= 0 {
			dirName, base = rel[:i], rel[i+1:]
		}
		if base == "" || base == "." || base == ".." {
			return nil, "", syscall.EISDIR
		}
		dir, err := e.root.OpenRoot(dirName)
		if errors.Is(err, fs.ErrNotExist) {
			if err := e.root.MkdirAll(dirName, 0o755); err != nil {
				return nil, "", err
			}
			dir, err = e.root.OpenRoot(dirName)
		}
		if err != nil {
			return nil, "", err
		}
		st, err := dir.Lstat(base)
		if err != nil || st.Mode()&fs.ModeSymlink == 0 {
			return dir, base, nil // what is wrong with it shows later
		}
		target, err := dir.Readlink(base)
		_ = dir.Close()
		if err != nil {
			return nil, "", err
		}
		if path.IsAbs(target) {
			return nil, "", errEscapes()
		}
		// Not cleaned: ".." after a symlinked folder means its real parent.
		rel = dirName + "/" + strings.TrimRight(target, "/")
	}
	return nil, "", syscall.ELOOP
}

// write is one write on its way: a temporary file beside the one it will replace.
type write struct {
	rel  string
	dir  *os.Root
	base string
	opts tool.WriteOptions

	tmp    string
	size   int64
	digest string
}

// check holds the file as it is now against the preconditions and gives its
// mode, 0 where there is no file.
func (w *write) check() (fs.FileMode, error) {
	f, err := w.dir.OpenFile(w.base, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if w.opts.IfMatch != "" {
			return 0, fmt.Errorf("%s: %w: it does not exist", w.rel, tool.ErrPreconditionFailed)
		}
		return 0, nil
	case errors.Is(err, fs.ErrPermission) && w.opts.IfMatch == "":
		// A file that may be replaced but not read.
		st, err := w.dir.Lstat(w.base)
		if err != nil {
			return 0, mapError(w.rel, err)
		}
		return w.checkStat(st)
	case err != nil:
		return 0, mapError(w.rel, err)
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return 0, mapError(w.rel, err)
	}
	mode, err := w.checkStat(st)
	if err != nil || w.opts.IfMatch == "" {
		return mode, err
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return 0, mapError(w.rel, err)
	}
	if digestOf(h.Sum(nil)) != w.opts.IfMatch {
		return 0, fmt.Errorf("%s: %w", w.rel, tool.ErrPreconditionFailed)
	}
	return mode, nil
}

func (w *write) checkStat(st fs.FileInfo) (fs.FileMode, error) {
	if !st.Mode().IsRegular() {
		return 0, notRegular(w.rel, st.Mode())
	}
	if w.opts.IfAbsent {
		return 0, fmt.Errorf("%s: %w: it exists already", w.rel, tool.ErrPreconditionFailed)
	}
	return st.Mode(), nil
}

// fill writes the temporary file.
func (w *write) fill(ctx context.Context, src io.Reader) (err error) {
	w.tmp = ".sampan-" + rand.Text()[:12] + ".tmp"
	f, err := w.dir.OpenFile(w.tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return mapError(w.rel, err)
	}
	h := sha256.New()
	w.size, err = io.Copy(io.MultiWriter(f, h), ctxReader{ctx, src})
	if err2 := f.Close(); err == nil {
		err = err2
	}
	if err != nil {
		w.discard()
		return mapError(w.rel, err)
	}
	w.digest = digestOf(h.Sum(nil))
	return nil
}

// commit puts the temporary file in place.
func (w *write) commit() (*tool.FileInfo, error) {
	mode, err := w.check()
	if err != nil {
		w.discard()
		return nil, err
	}
	if mode == 0 {
		mode = w.opts.Mode
		if mode == 0 {
			mode = 0o644
		}
	}
	const bits = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky
	if err := w.chmod(mode & bits); err != nil {
		w.discard()
		return nil, mapError(w.rel, err)
	}
	if err := w.place(); err != nil {
		w.discard()
		return nil, mapError(w.rel, err)
	}
	st, err := w.dir.Lstat(w.base)
	if err != nil {
		return nil, mapError(w.rel, err)
	}
	info := fileInfo(w.rel, st)
	info.Size, info.Digest = w.size, w.digest
	return info, nil
}

// place renames, or links where the file must not be there: a link fails if
// somebody else made it meanwhile.
func (w *write) place() error {
	if !w.opts.IfAbsent {
		return w.dir.Rename(w.tmp, w.base)
	}
	err := w.dir.Link(w.tmp, w.base)
	switch {
	case err == nil:
		w.discard()
		return nil
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%w: it exists already", tool.ErrPreconditionFailed)
	}
	return w.dir.Rename(w.tmp, w.base) // a file system without hard links
}

// chmod goes through the open file: by name it could be led astray.
func (w *write) chmod(mode fs.FileMode) error {
	f, err := w.dir.OpenFile(w.tmp, os.O_WRONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Chmod(mode), f.Close())
}

func (w *write) discard() { _ = w.dir.Remove(w.tmp) }

func digestOf(sum []byte) string { return "sha256:" + hex.EncodeToString(sum) }

// ctxReader ends a copy when its context does.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
