package engine

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/sampan-dev/sampan/internal/harness/tool"
)

// target is the file that a write replaces, open for writing. Being able to
// open it is what gives the right to replace it: a rename needs only the
// folder's permission, which a shell's ">" would not have asked.
type target struct {
	f  *os.File
	st fs.FileInfo
	// unreadable is a file that may be written but not read.
	unreadable bool
}

func (t *target) close() {
	if t != nil {
		_ = t.f.Close()
	}
}

// open opens the file as it is now and holds it against the preconditions; nil
// without an error where there is none.
func (w *write) open() (*target, error) {
	st, err := w.dir.Lstat(w.base)
	if errors.Is(err, fs.ErrNotExist) {
		if w.opts.IfMatch != "" {
			return nil, fmt.Errorf("%s: %w: it does not exist", w.rel, tool.ErrPreconditionFailed)
		}
		return nil, nil //nolint:nilnil // there is no file
	}
	if err == nil {
		err = w.checkStat(st)
	}
	if err != nil {
		return nil, mapError(w.rel, err)
	}
	const flags = syscall.O_NONBLOCK | syscall.O_NOFOLLOW
	t := &target{}
	t.f, err = w.dir.OpenFile(w.base, os.O_RDWR|flags, 0)
	if errors.Is(err, syscall.EACCES) {
		t.unreadable = true
		t.f, err = w.dir.OpenFile(w.base, os.O_WRONLY|flags, 0)
	}
	if err != nil {
		return nil, mapError(w.rel, err)
	}
	if t.st, err = t.f.Stat(); err == nil {
		err = w.checkStat(t.st)
	}
	if err == nil && w.opts.IfMatch != "" {
		err = w.checkDigest(t)
	}
	if err != nil {
		t.close()
		return nil, mapError(w.rel, err)
	}
	return t, nil
}

func (w *write) checkStat(st fs.FileInfo) error {
	switch {
	case !st.Mode().IsRegular():
		return notRegular(w.rel, st.Mode())
	case w.opts.IfAbsent:
		return fmt.Errorf("%s: %w: it exists already", w.rel, tool.ErrPreconditionFailed)
	case st.Mode()&0o222 == 0:
		// Of root's, too: nobody is meant to write it as long as it says so.
		return fmt.Errorf("%s: %w: the file is read-only (mode %#o)", w.rel, tool.ErrPermission, st.Mode().Perm())
	}
	return nil
}

func (w *write) checkDigest(t *target) error {
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(t.f, 0, t.st.Size()+1)); err != nil {
		return err
	}
	if digestOf(h.Sum(nil)) != w.opts.IfMatch {
		return fmt.Errorf("%s: %w", w.rel, tool.ErrPreconditionFailed)
	}
	return nil
}

// renames says whether the staged file can take the target's place without
// changing more than the content: its owner, other names of it (hard links), a
// mount, its ACL and other attributes. It gives the staged file the target's mode.
func (w *write) renames(t *target) bool {
	const special = fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky // the kernel decides what a write leaves of them
	if !w.staged.beside || t.st.Mode()&special != 0 || w.chmod(t.st.Mode().Perm()) != nil {
		return false
	}
	f, err := w.openStage(os.O_WRONLY)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil || st.Mode() != t.st.Mode() {
		return false
	}
	a, ok := st.Sys().(*syscall.Stat_t)
	b, ok2 := t.st.Sys().(*syscall.Stat_t)
	if !ok || !ok2 || b.Nlink != 1 || a.Uid != b.Uid || a.Gid != b.Gid || a.Dev != b.Dev {
		return false
	}
	return sameAttributes(f, t.f)
}

// rename replaces the file; where that is refused, as for a mount point or in a
// sticky folder, it can still be overwritten.
func (w *write) rename() bool {
	if w.dir.Rename(w.staged.name, w.base) != nil {
		return false
	}
	w.staged.name = ""
	return true
}

// overwrite puts the staged content into the file that is there.
func (w *write) overwrite(t *target) error {
	src := io.Reader(bytes.NewReader(w.staged.mem))
	if w.staged.name != "" {
		f, err := w.openStage(os.O_RDONLY)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		src = f
	}
	// Space that is missing shows here, while nothing is changed.
	if err := reserve(t.f, w.size); errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG) {
		return err
	}
	if t.unreadable {
		return overwrite(t.f, src, w.size)
	}
	old, err := w.keepOld(t)
	if err != nil {
		return err
	}
	defer old.discard()
	err = overwrite(t.f, src, w.size)
	if err == nil {
		return nil
	}
	if err2 := overwrite(t.f, old, t.st.Size()); err2 != nil {
		return fmt.Errorf("%w; the old content could not be restored (%w)%s", mapError(w.rel, err), rootCause(err2), old.keep())
	}
	return err
}

// contents is what overwrite needs of an open file.
type contents interface {
	io.WriterAt
	Truncate(size int64) error
}

// overwrite writes from the beginning and cuts off what is too much last, so
// that a write that fails half-way has freed no space that the old content needs.
func overwrite(f contents, src io.Reader, size int64) error {
	n, err := io.Copy(io.NewOffsetWriter(f, 0), src)
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	return f.Truncate(size)
}

// maxOldInMemory is how much of an old content is kept in memory; more goes to a file.
const maxOldInMemory = 8 << 20

// oldContent is a copy of what a file held, for the case that writing fails.
type oldContent struct {
	io.Reader
	dir  *os.Root
	f    *os.File
	name string
}

func (w *write) keepOld(t *target) (*oldContent, error) {
	src := io.NewSectionReader(t.f, 0, t.st.Size())
	if t.st.Size() <= maxOldInMemory || w.staged.name == "" {
		data, err := io.ReadAll(src)
		return &oldContent{Reader: bytes.NewReader(data)}, err
	}
	o := &oldContent{dir: w.staged.dir, name: w.staged.name + ".old"}
	f, err := o.dir.OpenFile(o.name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	o.f = f
	if _, err = io.Copy(f, src); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		o.discard()
		return nil, err
	}
	o.Reader = f
	return o, nil
}

// keep leaves the copy where it is and says where that is.
func (o *oldContent) keep() string {
	if o.f == nil {
		return ""
	}
	_ = o.f.Close()
	o.f = nil
	return "; it is kept in " + o.name + " beside the file or in the workspace"
}

func (o *oldContent) discard() {
	if o.f != nil {
		_ = o.f.Close()
		_ = o.dir.Remove(o.name)
	}
}
