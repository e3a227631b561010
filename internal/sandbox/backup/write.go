package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/klauspost/compress/zstd"
)

const (
	dirBatch = 1024
	// bufferBytes is how long a file may be to be read before it is described, so that
	// it may change meanwhile.
	bufferBytes = 256 << 10
)

// writer goes through a workspace in the order of names. It follows no link.
type writer struct {
	ctx    context.Context
	tar    *tar.Writer
	limits Limits
	sum    Summary
	paths  int64
	buf    []byte
	// links has the path of each file that has several.
	links map[inode]string
}

type inode struct{ dev, ino uint64 }

// Write writes all of a workspace but Own. Of modes the permissions are kept. An
// archive that was not written to its end has none that a reader would take.
func Write(ctx context.Context, root *os.Root, to io.Writer, limits Limits) (Summary, error) {
	z, err := zstd.NewWriter(to, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return Summary{}, err
	}
	w := &writer{ctx: ctx, tar: tar.NewWriter(z), limits: limits, buf: make([]byte, bufferBytes+1), links: map[inode]string{}}
	if err := w.folder(root, "", 0); err != nil {
		return w.sum, err
	}
	if err := w.tar.Close(); err != nil {
		return w.sum, err
	}
	return w.sum, z.Close()
}

func (w *writer) folder(dir *os.Root, at string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s: %w: more than %d folders deep", at, ErrLimit, maxDepth)
	}
	names, err := w.names(dir)
	if err != nil {
		return fmt.Errorf("reading the folder %q: %w", at, err)
	}
	for _, name := range names {
		switch {
		case w.ctx.Err() != nil:
			return context.Cause(w.ctx)
		case depth == 0 && name == Own, strings.HasPrefix(name, ".sampan-") && strings.HasSuffix(name, ".tmp"):
			continue // ours
		}
		if err := w.entry(dir, name, path.Join(at, name), depth); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) names(dir *os.Root) ([]string, error) {
	f, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var names []string
	for {
		batch, err := f.Readdirnames(dirBatch)
		names = append(names, batch...)
		switch {
		case errors.Is(err, io.EOF):
			slices.Sort(names)
			return names, nil
		case err != nil:
			return nil, err
		case w.sum.Entries+int64(len(names)) > w.limits.Entries:
			return nil, fmt.Errorf("%w: more than %d entries", ErrLimit, w.limits.Entries)
		}
	}
}

func (w *writer) entry(dir *os.Root, name, at string, depth int) error {
	info, err := dir.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it is gone by now
	}
	if err != nil {
		return fmt.Errorf("looking at %q: %w", at, err)
	}
	w.sum.Entries++
	w.paths += int64(len(at))
	if w.sum.Entries > w.limits.Entries || len(at) > maxPath || w.paths > maxPaths {
		return fmt.Errorf("%q: %w: more than %d entries, a path of more than %d bytes, or too many such", at, ErrLimit, w.limits.Entries, maxPath)
	}
	switch info.Mode().Type() {
	case 0:
		err = w.file(dir, name, at)
	case fs.ModeSymlink:
		err = w.link(dir, name, at, info)
	case fs.ModeDir:
		err = w.subfolder(dir, name, at, info, depth)
	default:
		w.sum.Entries--
		w.sum.Skipped++
	}
	if errors.Is(err, fs.ErrNotExist) {
		w.sum.Entries--
		return nil // the same
	}
	return err
}

func header(at string, info fs.FileInfo) *tar.Header {
	return &tar.Header{Format: tar.FormatPAX, Name: at, Mode: int64(info.Mode().Perm()), ModTime: info.ModTime()}
}

func (w *writer) link(dir *os.Root, name, at string, info fs.FileInfo) error {
	target, err := dir.Readlink(name)
	if err != nil {
		return fmt.Errorf("reading the link %q: %w", at, err)
	}
	h := header(at, info)
	h.Typeflag, h.Linkname = tar.TypeSymlink, target
	h.ModTime = time.Time{} // which could not be restored
	return w.tar.WriteHeader(h)
}

func (w *writer) subfolder(dir *os.Root, name, at string, info fs.FileInfo, depth int) error {
	sub, err := dir.OpenRoot(name)
	if err != nil {
		return fmt.Errorf("opening the folder %q: %w", at, err)
	}
	defer func() { _ = sub.Close() }()
	h := header(at+"/", info)
	h.Typeflag = tar.TypeDir
	if err := w.tar.WriteHeader(h); err != nil {
		return err
	}
	return w.folder(sub, at, depth+1)
}

func (w *writer) file(dir *os.Root, name, at string) error {
	f, err := dir.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("opening %q: %w", at, err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("looking at %q: %w", at, err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%q: %w", at, ErrChanged)
	}
	h := header(at, info)
	if first := w.hardLink(info, at); first != "" {
		h.Typeflag, h.Linkname = tar.TypeLink, first
		return w.tar.WriteHeader(h)
	}
	h.Typeflag, h.Size = tar.TypeReg, info.Size()
	n, err := io.ReadFull(f, w.buf)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("reading %q: %w", at, err)
	}
	var content io.Reader = bytes.NewReader(w.buf[:n])
	if n <= bufferBytes {
		h.Size = int64(n)
	} else {
		h.Size = max(h.Size, int64(n))
		content = io.MultiReader(content, f)
	}
	if w.sum.Bytes += h.Size; w.sum.Bytes > w.limits.Bytes {
		return fmt.Errorf("%q: %w: more than %d bytes in all", at, ErrLimit, w.limits.Bytes)
	}
	if err := w.tar.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.CopyN(w.tar, reader{w.ctx, content}, h.Size)
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%q: %w: it became shorter", at, ErrChanged)
	}
	return err
}

// hardLink gives the path under which a file is in the archive already.
func (w *writer) hardLink(info fs.FileInfo, at string) string {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Nlink < 2 {
		return ""
	}
	id := inode{uint64(st.Dev), st.Ino} //nolint:unconvert // of another type on other systems
	if first, ok := w.links[id]; ok {
		return first
	}
	w.links[id] = at
	return ""
}
