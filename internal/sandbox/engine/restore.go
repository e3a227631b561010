package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/sandbox/backup"
)

// A workspace is a mount, so that it cannot be replaced as a whole. A restore builds the
// new content in a folder of our own in it, and moves what is there out, and that in.
const (
	replaceDir = backup.Own + "/replace"
	// newDir gets the new content, oldDir holds the old one meanwhile.
	newDir = replaceDir + "/new"
	oldDir = replaceDir + "/old"
	// movedOut is there when all of the old content is in oldDir.
	movedOut = replaceDir + "/moved-out"
	// replacedDir is replaceDir once the new content is in place.
	replacedDir = backup.Own + "/replaced"
)

// Backup writes the workspace as an archive.
func (e *Engine) Backup(ctx context.Context, to io.Writer) (backup.Summary, error) {
	e.touch()
	defer e.touch()
	sum, err := backup.Write(ctx, e.root, to, e.opts.Backup)
	return sum, backupError(err)
}

// backupError gives an error the Executor's words.
func backupError(err error) error {
	switch {
	case errors.Is(err, backup.ErrLimit):
		return fmt.Errorf("%w: %w", tool.ErrTooLarge, err)
	case errors.Is(err, backup.ErrInvalid):
		return fmt.Errorf("%w: %w", tool.ErrInvalid, err)
	}
	return mapError("workspace", err)
}

// Staged is the content of an archive that waits to replace the workspace's.
type Staged struct {
	Summary backup.Summary
	e       *Engine
	closed  bool
}

// Stage reads an archive. Whatever is in that, the workspace stays as it is until
// Commit; the result must be closed. One is staged at a time.
func (e *Engine) Stage(ctx context.Context, from io.Reader) (*Staged, error) {
	if !e.staging.TryLock() {
		return nil, fmt.Errorf("%w: another restore is under way", tool.ErrTooMany)
	}
	e.touch()
	s := &Staged{e: e}
	if err := s.extract(ctx, from); err != nil {
		s.Close()
		return nil, backupError(err)
	}
	return s, nil
}

func (s *Staged) extract(ctx context.Context, from io.Reader) error {
	root := s.e.root
	if err := s.e.ownFolder(); err != nil {
		return err
	}
	if err := s.e.removeReplaced(); err != nil {
		return err
	}
	for _, dir := range []string{replaceDir, newDir} {
		if err := root.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	into, err := root.OpenRoot(newDir)
	if err != nil {
		return err
	}
	defer func() { _ = into.Close() }()
	s.Summary, err = backup.Extract(ctx, into, from, s.e.opts.Backup)
	return err
}

// ownFolder makes our folder, also where something else has its name.
func (e *Engine) ownFolder() error {
	if st, err := e.root.Lstat(backup.Own); err == nil && !st.IsDir() {
		if err := e.root.Remove(backup.Own); err != nil {
			return err
		}
	}
	return e.spill.prepare()
}

// Close drops what was staged, if it is not in place.
func (s *Staged) Close() {
	if s.closed {
		return
	}
	s.closed = true
	defer s.e.staging.Unlock()
	defer s.e.touch()
	if err := s.e.removeReplaced(); err != nil {
		s.e.opts.Log.Warn("Left something of a restore behind", "error", err)
	}
}

// removeReplaced removes what a restore leaves, unless it is content that could not
// be put back.
func (e *Engine) removeReplaced() error {
	if err := e.root.Remove(oldDir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s holds what an earlier restore could not put back: %w", oldDir, err)
	}
	return errors.Join(removeTree(e.root, replaceDir), removeTree(e.root, replacedDir))
}

// Commit ends all that runs and replaces the workspace's content, all of it or nothing.
func (s *Staged) Commit(ctx context.Context) error {
	reopen, err := s.e.stopBackground(ctx)
	if err != nil {
		return err
	}
	defer reopen()
	// Tools could change it until now.
	for _, dir := range []string{backup.Own, replaceDir, newDir} {
		if st, err := s.e.root.Lstat(dir); err != nil || !st.IsDir() {
			return fmt.Errorf("%w: %s was changed while the archive was read", tool.ErrPreconditionFailed, dir)
		}
	}
	return mapError("workspace", s.e.replace())
}

// replace moves one name after the other, and back when one cannot be moved.
func (e *Engine) replace() error {
	if err := e.root.Mkdir(oldDir, 0o700); err != nil {
		return err
	}
	err := e.moveAll(".", oldDir)
	if err == nil {
		err = e.root.WriteFile(movedOut, nil, 0o600)
	}
	if err == nil {
		err = e.moveAll(newDir, ".")
	}
	if err == nil {
		err = e.root.Rename(replaceDir, replacedDir)
	}
	if err == nil {
		return nil
	}
	return errors.Join(err, e.putBack())
}

// putBack undoes a replacement that did not come to its end.
func (e *Engine) putBack() error {
	_, err := e.root.Lstat(movedOut)
	switch {
	case err == nil:
		if err := e.moveAll(".", newDir); err != nil {
			return fmt.Errorf("the old content is in %s: %w", oldDir, err)
		}
		if err := e.root.Remove(movedOut); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := e.moveAll(oldDir, "."); err != nil {
		return fmt.Errorf("the old content is in %s: %w", oldDir, err)
	}
	return nil
}

// moveAll moves what one folder has into another; our own folder stays.
func (e *Engine) moveAll(from, to string) error {
	f, err := e.root.Open(from)
	if err != nil {
		return err
	}
	names, err := f.Readdirnames(-1)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	for _, name := range names {
		if from == "." && name == backup.Own {
			continue
		}
		at := path.Join(to, name)
		if _, err := e.root.Lstat(at); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("moving %s to %s: %w", name, to, fs.ErrExist) // a rename would replace it
		}
		if err := e.move(path.Join(from, name), at); err != nil {
			return err
		}
	}
	return nil
}

// move renames, also a folder that is read-only: another parent is a change of it.
func (e *Engine) move(from, to string) error {
	err := e.root.Rename(from, to)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	st, err2 := e.root.Lstat(from)
	if err2 != nil || !st.IsDir() || e.root.Chmod(from, st.Mode()|0o700) != nil {
		return err
	}
	if err := e.root.Rename(from, to); err != nil {
		return errors.Join(err, e.root.Chmod(from, st.Mode()))
	}
	return e.root.Chmod(to, st.Mode())
}

// recoverReplace undoes the replacement of a server that was killed meanwhile. What it
// finds may be of tools, which can do no more with it than they could anyway.
func (e *Engine) recoverReplace() {
	for _, dir := range []string{backup.Own, replaceDir, newDir, oldDir} {
		if st, err := e.root.Lstat(dir); err != nil || !st.IsDir() {
			return
		}
	}
	if err := e.putBack(); err != nil {
		e.opts.Log.Error("Could not undo an unfinished restore", "error", err)
		return
	}
	e.opts.Log.Info("Undid an unfinished restore")
	if err := e.removeReplaced(); err != nil {
		e.opts.Log.Warn("Left something of a restore behind", "error", err)
	}
}

// removeTree removes a folder in which others may have been made read-only.
func removeTree(root *os.Root, name string) error {
	err := root.RemoveAll(name)
	if err == nil || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	if st, err := root.Lstat(name); err != nil || !st.IsDir() {
		return root.Remove(name)
	}
	dir, err := root.OpenRoot(name)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	return errors.Join(makeWritable(dir), root.RemoveAll(name))
}

func makeWritable(root *os.Root) error {
	return fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = root.Chmod(p, 0o700)
		}
		return err
	})
}
