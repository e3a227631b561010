package snapshot

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/runner/nofollow"
)

// Restore builds the workspace of a checkpoint in Root, which has to be empty but for
// what is excluded, or to have what an unfinished restore has left there, whose process died. It is all or
// nothing: the tree is built in a folder in Root and moved to its place, and where
// that fails all of it is removed. Until it is done that folder is there: a process
// that finds it knows that the rest is not whole. All this holds when a process
// ends, not when the machine does.
//
// The next Take compares with what was restored. *record.CorruptError is a checkpoint
// that cannot be restored, *TooLargeError one that is not.
func (s *Snapshotter) Restore(ctx context.Context, rec record.Recorder, c record.Checkpoint) error {
	if err := s.checkExclude(); err != nil {
		return err
	}
	root, err := nofollow.OpenRoot(s.Root)
	if err != nil {
		return err
	}
	defer nofollow.Close(root)
	r := &restore{rec: rec, root: root, path: s.Root, exclude: s.Exclude, step: s.step}
	if r.step == nil {
		r.step = func() error { return nil }
	}
	if err := r.clear(); err != nil {
		return fmt.Errorf("restoring into %s: %w", s.Root, err)
	}
	if r.plan, err = s.planOf(ctx, rec, c); err != nil {
		return fmt.Errorf("restoring the checkpoint of turn %d: %w", c.Turn, err)
	}
	if err := r.build(ctx); err != nil {
		err = fmt.Errorf("restoring the checkpoint of turn %d into %s: %w", c.Turn, s.Root, err)
		return errors.Join(err, r.clear())
	}
	s.last = r.state(c, s.mark(), s.settled())
	return nil
}

// Unfinished tells whether a folder has what an unfinished restore has left there, and so
// nothing that counts.
func Unfinished(root string) bool {
	_, err := os.Lstat(filepath.Join(root, marker))
	return err == nil
}

// restore is one restore.
type restore struct {
	rec  record.Recorder
	root int
	path string
	// exclude are what is neither restored nor removed.
	exclude []string
	plan    *plan
	// stage is where the tree is built.
	stage int
	// items has one of each entry, with what tells of a later change of a file.
	items []*item
	// todo counts the parts of each entry that are not written.
	todo []atomic.Int64
	step func() error
}

// clear makes the folder empty, if all in it is of an unfinished restore. The marker
// goes last.
func (r *restore) clear() error {
	root, err := os.OpenRoot(r.path)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // a folder
	names, err := r.names()
	if err != nil || len(names) == 0 {
		return err
	}
	if !slices.Contains(names, marker) {
		return fmt.Errorf("%w: it has %q", ErrNotEmpty, names[0])
	}
	for _, name := range names {
		if name != marker {
			if err := r.removeAll(root, name); err != nil {
				return err
			}
		}
	}
	return r.removeAll(root, marker)
}

// names gives the names in the folder, without those that are excluded.
func (r *restore) names() ([]string, error) {
	fd, err := nofollow.OpenFolder(r.root, ".")
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), r.path)
	defer f.Close() //nolint:errcheck // only read
	names, err := f.Readdirnames(-1)
	return slices.DeleteFunc(names, func(name string) bool { return excludes(r.exclude, name) }), err
}

// removeAll removes a name and all in it, also from folders that are not to be
// written to.
func (r *restore) removeAll(root *os.Root, name string) error {
	if err := r.step(); err != nil {
		return err
	}
	err := root.RemoveAll(name)
	if nofollow.Denied(err) {
		if err = openUp(r.root, name); err == nil {
			err = root.RemoveAll(name)
		}
	}
	if err != nil {
		return fmt.Errorf("removing what is left of a restore: %w", err)
	}
	return nil
}

func (r *restore) build(ctx context.Context) (err error) {
	if err := r.step(); err != nil {
		return err
	}
	if err := unix.Mkdirat(r.root, marker, 0o700); err != nil {
		return fmt.Errorf("making %s: %w", marker, err)
	}
	if r.stage, err = nofollow.OpenFolder(r.root, marker); err != nil {
		return fmt.Errorf("opening %s: %w", marker, err)
	}
	defer nofollow.Close(r.stage)
	r.items = make([]*item, len(r.plan.entries))
	r.todo = make([]atomic.Int64, len(r.plan.entries))
	for _, do := range []func(context.Context) error{r.makeAll, r.fill, r.linkAll, r.finishFolders, r.moveAll} {
		if err := do(ctx); err != nil {
			return err
		}
	}
	if err := r.step(); err != nil {
		return err
	}
	if err := unix.Unlinkat(r.root, marker, unix.AT_REMOVEDIR); err != nil {
		return fmt.Errorf("removing %s: %w", marker, err)
	}
	return nil
}

// each calls do for the entries of some types, in their order, with their folders.
func (r *restore) each(ctx context.Context, do func(i int, folder int, name string) error, types ...record.EntryType) error {
	at := nofollow.NewCursor(r.stage)
	defer at.Close()
	for i := range r.plan.entries {
		e := &r.plan.entries[i]
		if !slices.Contains(types, e.Type) {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := r.step(); err != nil {
			return err
		}
		folder, name, err := at.At(string(e.Path))
		if err == nil {
			err = do(i, folder, name)
		}
		if err != nil {
			return fmt.Errorf("%q: %w", e.Path, err)
		}
	}
	return nil
}

// makeAll makes folders, symlinks, and the files that do not come from one chunk.
func (r *restore) makeAll(ctx context.Context) error {
	return r.each(ctx, func(i, folder int, name string) error {
		e := &r.plan.entries[i]
		r.items[i] = newItem(string(e.Path), e.Type, signature{mode: e.Mode, mtime: e.ModTime})
		r.items[i].target = string(e.Target)
		switch {
		case e.Type == record.EntryFolder:
			return unix.Mkdirat(folder, name, 0o700)
		case e.Type == record.EntrySymlink:
			return errors.Join(unix.Symlinkat(string(e.Target), folder, name), setTimes(folder, name, e.ModTime))
		case e.Type == record.EntryFile && len(e.Pieces) != 1:
			return r.makeFile(i, folder, name)
		}
		return nil
	}, record.EntryFolder, record.EntrySymlink, record.EntryFile, record.EntryHardLink)
}

// makeFile makes a file that is empty, or is filled by several.
func (r *restore) makeFile(i, folder int, name string) error {
	fd, err := nofollow.OpenAt(folder, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	pieces := len(r.plan.entries[i].Pieces)
	r.todo[i].Store(int64(pieces))
	if pieces == 0 {
		err = r.finishFile(i, fd, folder, name)
	} else {
		err = truncate(fd, r.plan.entries[i].Size)
	}
	return errors.Join(err, unix.Close(fd))
}

// fill writes the files' contents, each chunk at once wherever it belongs.
func (r *restore) fill(ctx context.Context) error {
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, c := range r.plan.chunks {
		if inner.Err() != nil {
			break
		}
		group.Go(func() error { return r.fillFrom(inner, c) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

func (r *restore) fillFrom(ctx context.Context, c *chunkPlan) error {
	data, err := r.rec.Chunk(ctx, c.digest)
	if err != nil {
		return missingChunk(c.digest, err)
	}
	at := nofollow.NewCursor(r.stage)
	defer at.Close()
	chunk := &pack{digest: c.digest, size: int64(len(data))}
	for _, p := range c.parts {
		e := &r.plan.entries[p.entry]
		if p.offset+p.length > chunk.size {
			return &record.CorruptError{Object: "the chunk " + string(c.digest),
				Reason: fmt.Sprintf("it has %d bytes, and %q those from %d to %d", chunk.size, e.Path, p.offset, p.offset+p.length)}
		}
		if err := r.step(); err != nil {
			return err
		}
		folder, name, err := at.At(string(e.Path))
		if err == nil {
			err = r.write(p, folder, name, data[p.offset:p.offset+p.length])
		}
		if err != nil {
			return fmt.Errorf("%q: %w", e.Path, err)
		}
		if len(e.Pieces) == 1 && p.length < smallFile {
			r.items[p.entry].content = &content{
				sum: sha256.Sum256(data[p.offset : p.offset+p.length]), pack: chunk, offset: p.offset, length: p.length}
		}
	}
	return nil
}

// write writes a part of a file, and finishes it with the last one.
func (r *restore) write(p part, folder int, name string, data []byte) (err error) {
	flags, left := unix.O_WRONLY, int64(0)
	whole := len(r.plan.entries[p.entry].Pieces) == 1
	if whole {
		flags |= unix.O_CREAT | unix.O_EXCL
	}
	fd, err := nofollow.OpenAt(folder, name, flags, r.plan.entries[p.entry].Mode&0o777|0o200)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	if err := writeSparse(fd, p.at, data); err != nil {
		return err
	}
	if whole {
		err = truncate(fd, int64(len(data)))
	} else {
		left = r.todo[p.entry].Add(-1)
	}
	if err != nil || left > 0 {
		return err
	}
	return r.finishFile(p.entry, fd, folder, name)
}

// finishFile gives a file its mode and time, and keeps what tells of a later change.
func (r *restore) finishFile(i, fd, folder int, name string) error {
	e := &r.plan.entries[i]
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if signatureOf(&st).mode&modeBits != e.Mode {
		if err := setMode(fd, e.Mode); err != nil {
			return err
		}
	}
	if err := setTimes(folder, name, e.ModTime); err != nil {
		return err
	}
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	it := r.items[i]
	it.sig, it.size = signatureOf(&st), e.Size
	if len(e.Pieces) > 1 || e.Size >= smallFile {
		it.pieces = e.Pieces
	}
	return nil
}

// setMode sets permissions, and of the further bits what the system lets.
func setMode(fd int, mode uint32) error {
	err := unix.Fchmod(fd, mode)
	if nofollow.Denied(err) && mode > 0o777 {
		err = unix.Fchmod(fd, mode&0o777)
	}
	return err
}

func setTimes(folder int, name string, modTime int64) error {
	t := unix.NsecToTimespec(modTime)
	return unix.UtimesNanoAt(folder, name, []unix.Timespec{t, t}, unix.AT_SYMLINK_NOFOLLOW)
}

func (r *restore) linkAll(ctx context.Context) error {
	from := nofollow.NewCursor(r.stage)
	defer from.Close()
	return r.each(ctx, func(i, folder int, name string) error {
		target, first, err := from.At(string(r.plan.entries[i].Target))
		if err != nil {
			return err
		}
		return unix.Linkat(target, first, folder, name, 0)
	}, record.EntryHardLink)
}

// finishFolders gives all folders but the outermost their modes and times: they are
// not written to any more. The innermost are the first.
func (r *restore) finishFolders(ctx context.Context) error {
	at := nofollow.NewCursor(r.stage)
	defer at.Close()
	for i := range slices.Backward(r.plan.entries) {
		e := &r.plan.entries[i]
		if e.Type != record.EntryFolder || path.Dir(string(e.Path)) == "." {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		folder, name, err := at.At(string(e.Path))
		if err == nil {
			err = r.finishFolder(e, folder, name)
		}
		if err != nil {
			return fmt.Errorf("%q: %w", e.Path, err)
		}
	}
	return nil
}

func (r *restore) finishFolder(e *record.Entry, parent int, name string) error {
	if err := r.step(); err != nil {
		return err
	}
	fd, err := nofollow.OpenFolder(parent, name)
	if err != nil {
		return err
	}
	defer nofollow.Close(fd)
	if err := setMode(fd, e.Mode); err != nil {
		return err
	}
	return setTimes(parent, name, e.ModTime)
}

// moveAll moves what is in the stage to its place. A folder that is not to be written
// to cannot be moved, so its mode comes after.
func (r *restore) moveAll(ctx context.Context) error {
	for i := range r.plan.entries {
		e := &r.plan.entries[i]
		name := string(e.Path)
		if path.Dir(name) != "." {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := r.step(); err != nil {
			return err
		}
		err := unix.Renameat(r.stage, name, r.root, name)
		if err == nil && e.Type == record.EntryFolder {
			err = r.finishFolder(e, r.root, name)
		}
		if err != nil {
			return fmt.Errorf("moving %q to its place: %w", e.Path, err)
		}
	}
	return nil
}

// state is what a snapshot of the restored tree would have seen. Of what was linked
// or moved the times are others by now: the next snapshot reads it again.
func (r *restore) state(c record.Checkpoint, mark uint64, settled func(int64) bool) state {
	s := state{take: mark, contents: map[sum]*content{}, known: map[record.Digest]bool{}}
	for _, d := range c.Tree {
		s.known[d] = true
	}
	for _, p := range r.plan.chunks {
		s.known[p.digest] = true
	}
	for _, it := range r.items {
		it.racy = !settled(it.sig.ctime)
		s.items = append(s.items, it)
		if it.content != nil {
			s.contents[it.content.sum] = it.content
		}
	}
	markLive(s.items, mark)
	return s
}
