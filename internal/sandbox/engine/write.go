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
	dir, base, err := e.openParent(e.unshown(rel))
	if at := e.otherPath(rel, err); at != rel {
		dir, base, err = e.openParent(at)
	}
	if err != nil {
		return nil, mapError(rel, err)
	}
	defer func() { _ = dir.Close() }()
	w := &write{e: e, rel: rel, dir: dir, base: base, opts: opts}
	// Refuse before reading the body where that can be known already.
	target, err := w.open()
	if err != nil {
		return nil, err
	}
	exists := target != nil
	target.close()
	defer w.discard()
	if err := w.fill(ctx, src, exists); err != nil {
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

// write is one write on its way: the new content is staged in a temporary file,
// beside the one it will replace where that is possible.
type write struct {
	e    *Engine
	rel  string
	dir  *os.Root
	base string
	opts tool.WriteOptions

	staged stage
	size   int64
	digest string
}

// stage is where the new content waits: in the file name of dir, or in memory
// where no file can be made.
type stage struct {
	dir  *os.Root
	name string
	mem  []byte
	// beside says that the file is in the folder of the one it will replace.
	beside bool
}

// maxMemoryStage bounds content for which there is no place but memory.
const maxMemoryStage = 64 << 20

// fill stages the new content.
func (w *write) fill(ctx context.Context, src io.Reader, exists bool) (err error) {
	h := sha256.New()
	src = io.TeeReader(ctxReader{ctx, src}, h)
	f, err := w.stageFile(exists)
	switch {
	case err != nil:
		return mapError(w.rel, err)
	case f == nil:
		w.staged.mem, err = io.ReadAll(io.LimitReader(src, maxMemoryStage+1))
		w.size = int64(len(w.staged.mem))
		if err == nil && w.size > maxMemoryStage {
			return tooLarge(w.rel, w.size, maxMemoryStage)
		}
	default:
		w.size, err = io.Copy(f, src)
		if err2 := f.Close(); err == nil {
			err = err2
		}
	}
	if err != nil {
		return mapError(w.rel, err)
	}
	w.digest = digestOf(h.Sum(nil))
	return nil
}

// stageFile makes the temporary file: beside the file it will replace, else in
// our own folder, for a file may be writable in a folder that is not. With
// neither there is no file and no error.
func (w *write) stageFile(exists bool) (*os.File, error) {
	perm := fs.FileMode(0o600) // nobody may read what only the old file's owner could
	if !exists && w.opts.Mode == 0 {
		perm = 0o666 // as a shell would make it: less the umask, or by the folder's default ACL
	}
	f, err := w.stageIn(w.dir, ".sampan-"+rand.Text()[:12]+".tmp", perm)
	if err == nil {
		w.staged.beside = true
	}
	if err == nil || !exists || !refused(err) {
		return f, err
	}
	if err := w.e.spill.prepare(); err != nil {
		return nil, nil //nolint:nilerr,nilnil // then memory has to do
	}
	f, err = w.stageIn(w.e.root, path.Dir(OutputDir)+"/"+rand.Text()[:12]+".tmp", perm)
	if err != nil && refused(err) {
		return nil, nil //nolint:nilnil // the same
	}
	return f, err
}

func (w *write) stageIn(dir *os.Root, name string, perm fs.FileMode) (*os.File, error) {
	f, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err == nil {
		w.staged.dir, w.staged.name = dir, name
	}
	return f, err
}

// refused says that something may not be done here, though it might elsewhere.
func refused(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

// commit puts the new content in place.
func (w *write) commit() (*tool.FileInfo, error) {
	target, err := w.open()
	if err != nil {
		return nil, err
	}
	defer target.close()
	switch {
	case target == nil:
		err = w.create()
	case !w.renames(target) || !w.rename():
		err = w.overwrite(target)
	}
	if err != nil {
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

// create makes a file that is not there: by a link, which fails if somebody
// else made it meanwhile.
func (w *write) create() error {
	if w.opts.Mode != 0 {
		if err := w.chmod(w.opts.Mode.Perm()); err != nil {
			return err
		}
	}
	if w.opts.IfAbsent {
		err := w.dir.Link(w.staged.name, w.base)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, fs.ErrExist):
			return fmt.Errorf("%s: %w: it exists already", w.rel, tool.ErrPreconditionFailed)
		}
		// A file system without hard links.
	}
	if err := w.dir.Rename(w.staged.name, w.base); err != nil {
		return err
	}
	w.staged.name = ""
	return nil
}

// chmod goes through the open file: by name it could be led astray.
func (w *write) chmod(mode fs.FileMode) error {
	f, err := w.openStage(os.O_WRONLY)
	if err != nil {
		return err
	}
	return errors.Join(f.Chmod(mode), f.Close())
}

func (w *write) openStage(flag int) (*os.File, error) {
	return w.staged.dir.OpenFile(w.staged.name, flag|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
}

// discard removes the temporary file, if it has not become the file itself.
func (w *write) discard() {
	if w.staged.name != "" {
		_ = w.staged.dir.Remove(w.staged.name)
	}
}

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
