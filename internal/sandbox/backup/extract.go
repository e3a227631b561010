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
	"time"

	"github.com/klauspost/compress/zstd"
)

// extraction puts an archive into an empty folder. What it makes it knows: no entry
// goes through a link, and none replaces another.
type extraction struct {
	ctx    context.Context
	root   *os.Root
	limits Limits
	sum    Summary
	// paths counts the bytes of all.
	paths int64
	// folders have been made, in this order; their modes and times come last. known has
	// the index of each.
	folders []folder
	known   map[string]int
	// files are those that a hard link may name.
	files map[string]bool
}

type folder struct {
	name string
	mode fs.FileMode
	time time.Time
}

// Extract reads an archive to its end and puts it into root, which must be empty. A
// link may lead anywhere, as tools may make it, but nothing is read or written through
// one. What it refuses is ErrInvalid or ErrLimit; root may hold anything then.
func Extract(ctx context.Context, root *os.Root, from io.Reader, limits Limits) (Summary, error) {
	z, err := zstd.NewReader(from, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(maxWindow))
	if err != nil {
		return Summary{}, err
	}
	defer z.Close()
	content := &bounded{r: reader{ctx, z}, left: limits.Bytes + limits.Entries*entryOverhead}
	x := &extraction{ctx: ctx, root: root, limits: limits, known: map[string]int{".": -1}, files: map[string]bool{}}
	archive := tar.NewReader(content)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = x.entry(h, archive)
		}
		if err != nil {
			return x.sum, x.failed(content, err)
		}
	}
	if content.read == 0 {
		return x.sum, fmt.Errorf("%w: it is empty", ErrInvalid)
	}
	if err := onlyZeros(content); err != nil {
		return x.sum, x.failed(content, err)
	}
	return x.sum, x.finish()
}

// bounded fails where more comes than may.
type bounded struct {
	r          io.Reader
	read, left int64
	// err is why it cannot be read any further.
	err error
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		b.err = fmt.Errorf("%w: it decompresses to more than may be restored", ErrLimit)
		return 0, b.err
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.read += int64(n)
	b.left -= int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

// failed names what is wrong: with what came, if that is it, or with the archive.
func (x *extraction) failed(content *bounded, err error) error {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case x.ctx.Err() != nil:
		return context.Cause(x.ctx)
	case errors.Is(content.err, ErrLimit):
		return content.err
	case errors.As(err, &path), errors.As(err, &link), errors.Is(err, ErrLimit), errors.Is(err, ErrInvalid):
		return err
	}
	return fmt.Errorf("%w: %w", ErrInvalid, err)
}

// onlyZeros reads the rest, in which another archive may hide.
func onlyZeros(r io.Reader) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if len(bytes.Trim(buf[:n], "\x00")) > 0 {
			return fmt.Errorf("%w: something follows it", ErrInvalid)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (x *extraction) entry(h *tar.Header, content io.Reader) error {
	name, err := cleanName(h.Name)
	if err != nil {
		return err
	}
	if h.Mode&0o7000 != 0 {
		return fmt.Errorf("%w: %q has the mode %#o: setuid, setgid and sticky are not restored", ErrInvalid, h.Name, h.Mode)
	}
	if name == "." {
		if h.Typeflag != tar.TypeDir {
			return fmt.Errorf("%w: %q is no folder", ErrInvalid, h.Name)
		}
		return nil // the workspace itself stays as it is
	}
	if err := x.parents(path.Dir(name)); err != nil {
		return err
	}
	if err := x.count(name); err != nil {
		return err
	}
	mode := h.FileInfo().Mode().Perm()
	switch h.Typeflag {
	case tar.TypeDir:
		return x.folder(folder{name, mode, h.ModTime})
	case tar.TypeReg:
		return x.file(name, mode, h, content)
	case tar.TypeSymlink:
		if h.Linkname == "" || len(h.Linkname) > maxTarget || strings.IndexByte(h.Linkname, 0) >= 0 {
			return fmt.Errorf("%w: %q is a link to %q", ErrInvalid, h.Name, h.Linkname)
		}
		return exists(x.root.Symlink(h.Linkname, name))
	case tar.TypeLink:
		target, err := cleanName(h.Linkname)
		if err != nil || !x.files[target] {
			return fmt.Errorf("%w: %q is a hard link to %q, which is no file of it", ErrInvalid, h.Name, h.Linkname)
		}
		return exists(x.root.Link(target, name))
	}
	return fmt.Errorf("%w: %q is of the type %q: only files, folders and links are restored", ErrInvalid, h.Name, string(h.Typeflag))
}

// cleanName checks a path of an archive.
func cleanName(name string) (string, error) {
	switch {
	case name == "" || len(name) > maxPath || strings.IndexByte(name, 0) >= 0:
		return "", fmt.Errorf("%w: a path of %d bytes, or with a NUL", ErrInvalid, len(name))
	case path.IsAbs(name):
		return "", fmt.Errorf("%w: %q is an absolute path", ErrInvalid, name)
	}
	depth := 0
	for part := range strings.SplitSeq(name, "/") {
		switch depth++; {
		case part == "..":
			return "", fmt.Errorf("%w: %q has ..", ErrInvalid, name)
		case len(part) > maxName:
			return "", fmt.Errorf("%w: a name of %d bytes", ErrInvalid, len(part))
		case depth > maxDepth:
			return "", fmt.Errorf("%w: %q is more than %d folders deep", ErrLimit, name, maxDepth)
		}
	}
	clean := path.Clean(name)
	if first, _, _ := strings.Cut(clean, "/"); first == Own {
		return "", fmt.Errorf("%w: %q belongs to the sandbox", ErrInvalid, name)
	}
	return clean, nil
}

// count bounds what is made, and what is known of it.
func (x *extraction) count(name string) error {
	x.sum.Entries++
	x.paths += int64(len(name))
	if x.sum.Entries > x.limits.Entries || x.paths > maxPaths {
		return fmt.Errorf("%w: more than %d entries, or paths of more than %d bytes in all", ErrLimit, x.limits.Entries, maxPaths)
	}
	return nil
}

// parents makes the folders of a path that no entry has made.
func (x *extraction) parents(name string) error {
	if _, ok := x.known[name]; ok {
		return nil
	}
	if err := x.parents(path.Dir(name)); err != nil {
		return err
	}
	if err := x.count(name); err != nil {
		return err
	}
	return x.folder(folder{name, 0o755, time.Time{}})
}

// folder makes one, or is about one that was made before.
func (x *extraction) folder(f folder) error {
	if i, ok := x.known[f.name]; ok {
		x.folders[i] = f
		return nil
	}
	if err := x.root.Mkdir(f.name, 0o700); err != nil {
		return exists(err)
	}
	x.known[f.name] = len(x.folders)
	x.folders = append(x.folders, f)
	return nil
}

func (x *extraction) file(name string, mode fs.FileMode, h *tar.Header, content io.Reader) (err error) {
	if x.sum.Bytes += h.Size; h.Size > x.limits.Bytes || x.sum.Bytes > x.limits.Bytes {
		return fmt.Errorf("%q: %w: more than %d bytes in all", h.Name, ErrLimit, x.limits.Bytes)
	}
	f, err := x.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return exists(err)
	}
	_, err = io.Copy(f, content)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	x.files[name] = true
	return x.root.Chtimes(name, time.Time{}, h.ModTime)
}

// exists names what is wrong with an archive that has a path twice.
func exists(err error) error {
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: a path that it has twice (%w)", ErrInvalid, err)
	}
	return err
}

// finish gives the folders their modes and times: each before the one that it is in.
func (x *extraction) finish() error {
	for _, f := range slices.Backward(x.folders) {
		if err := x.root.Chtimes(f.name, time.Time{}, f.time); err != nil {
			return err
		}
		if err := x.root.Chmod(f.name, f.mode); err != nil {
			return err
		}
	}
	return nil
}
