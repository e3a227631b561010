package outputs

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"mime"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-dev/sampan/internal/runner/nofollow"
)

// Media types of outputs.
const (
	typeTar    = "application/x-tar"
	typePatch  = "text/x-patch"
	typeOther  = "application/octet-stream"
	typeBranch = "application/json"
)

// extensions are the media types of files, whatever the system's own list says: the same
// file has the same type on every node.
var extensions = map[string]string{
	".json": "application/json", ".yaml": "application/yaml", ".yml": "application/yaml", ".txt": "text/plain", ".log": "text/plain",
	".md": "text/markdown", ".csv": "text/csv", ".html": "text/html", ".xml": "application/xml", ".svg": "image/svg+xml",
	".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".pdf": "application/pdf", ".zip": "application/zip",
	".gz": "application/gzip", ".tar": typeTar, ".patch": typePatch, ".diff": typePatch, ".jsonl": "application/jsonl",
}

func mediaType(name string) string {
	if t := extensions[path.Ext(name)]; t != "" {
		if _, _, err := mime.ParseMediaType(t); err == nil {
			return t
		}
	}
	return typeOther
}

var (
	errNotMade  = errors.New("was not made")
	errTooLarge = fmt.Errorf("has more than %d bytes, which is the most that an output may have", maxContent)
)

// at opens a path of the workspace by its folders' descriptors.
type at struct {
	cursor *nofollow.Cursor
	folder int
	name   string
	stat   unix.Stat_t
}

// find looks at a path of the workspace. Neither it nor a folder above it may be a link.
func find(root int, name string) (*at, error) {
	a := &at{cursor: nofollow.NewCursor(root)}
	var err error
	if a.folder, a.name, err = a.cursor.At(name); err == nil {
		_, err = nofollow.Retry(func() (int, error) {
			return 0, unix.Fstatat(a.folder, a.name, &a.stat, unix.AT_SYMLINK_NOFOLLOW)
		})
	}
	switch {
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR):
		err = fmt.Errorf("%q leads over a link or a file, which is not followed", name)
	case errors.Is(err, unix.ENOENT):
		err = errNotMade
	}
	if err != nil {
		a.cursor.Close()
		return nil, err
	}
	return a, nil
}

func (a *at) kind() uint32 { return uint32(a.stat.Mode) & unix.S_IFMT } //nolint:unconvert // its type depends on the system

// copyFile writes a file's bytes.
func (a *at) copyFile(w io.Writer) error {
	return withFile(a.folder, a.name, func(size int64, _ uint32, content io.Reader) error {
		_, err := io.Copy(w, content)
		return err
	})
}

// withFile opens a file and gives use what it has.
func withFile(folder int, name string, use func(size int64, mode uint32, content io.Reader) error) error {
	fd, err := nofollow.OpenAt(folder, name, unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close() //nolint:errcheck // only read
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if uint32(st.Mode)&unix.S_IFMT != unix.S_IFREG { //nolint:unconvert // as above
		return errNoFile
	}
	if st.Size > maxContent {
		return errTooLarge
	}
	return use(st.Size, uint32(st.Mode), io.LimitReader(f, st.Size)) //nolint:unconvert // as above
}

var errNoFile = errors.New("is no file any more")

// archive writes a folder as a tar archive: the same files give the same bytes. What is
// neither file, folder nor link is left out and named.
func (a *at) archive(w io.Writer) (left []string, err error) {
	fd, err := nofollow.OpenFolder(a.folder, a.name)
	if err != nil {
		return nil, err
	}
	defer nofollow.Close(fd)
	t := tar.NewWriter(w)
	walk := walker{visit: func(e entry) error { return pack(t, e) }}
	if err := walk.folder(fd, "", 1); err != nil {
		return nil, err
	}
	return walk.left.names(), t.Close()
}

// epoch is the time of all that is in an archive.
var epoch = time.Unix(0, 0).UTC()

func pack(t *tar.Writer, e entry) error {
	h := &tar.Header{Name: e.path, ModTime: epoch, Format: tar.FormatPAX}
	switch e.kind {
	case unix.S_IFDIR:
		h.Typeflag, h.Name, h.Mode = tar.TypeDir, e.path+"/", 0o755
		return t.WriteHeader(h)
	case unix.S_IFLNK:
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, e.target, 0o777
		return t.WriteHeader(h)
	}
	return withFile(e.folder, e.name, func(size int64, mode uint32, content io.Reader) error {
		h.Typeflag, h.Size, h.Mode = tar.TypeReg, size, 0o644
		if mode&0o100 != 0 {
			h.Mode = 0o755
		}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		n, err := io.Copy(t, content)
		if err == nil && n < size {
			err = fmt.Errorf("%q was cut while it was read", e.path)
		}
		return err
	})
}
