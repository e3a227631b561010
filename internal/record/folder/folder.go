// Package folder keeps the objects of a blob.Bucket as files of a folder, in such a way
// that an object whose writing has succeeded survives a power cut, an object that exists
// is whole, and of two who create the same object one fails, in whatever processes they
// are. The bucket of gocloud.dev for folders promises none of these.
//
// An object is written to a temporary file, which is flushed, then linked or renamed to
// its name, and then the folder it is in is flushed. The file system has to know hard links.
package folder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"
	"k8s.io/utils/lru"
)

// temporary is the folder of the files that are being written.
const temporary = ".tmp"

// maxFlushed bounds how many folders are known to be on disk.
const maxFlushed = 4096

var errUnsupported = errors.New("a folder of objects cannot do this")

// bucket implements driver.Bucket.
type bucket struct {
	root *os.Root
	// flushed are the folders whose way from the root is on disk.
	flushed *lru.Cache
}

// Cleaner removes the temporary files that a crash has left. A bucket of a folder gives
// its own with As.
type Cleaner interface {
	// RemoveTemporary removes those last written to before a time, and counts them.
	RemoveTemporary(before time.Time) (int, error)
}

// Room tells how full the file system of a folder is. A bucket of a folder gives its
// own with As.
type Room interface {
	// Room gives the bytes that may still be written, and all that there are.
	Room() (free, total uint64, err error)
}

// Open opens a folder, which has to be there.
func Open(dir string) (*blob.Bucket, error) {
	d, err := openDriver(dir)
	if err != nil {
		return nil, err
	}
	return blob.NewBucket(d), nil
}

func openDriver(dir string) (driver.Bucket, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	if err := root.Mkdir(temporary, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, errors.Join(fmt.Errorf("making a folder in %s: %w", dir, err), root.Close())
	}
	return &bucket{root: root, flushed: lru.New(maxFlushed)}, nil
}

func (b *bucket) Close() error { return b.root.Close() }

// ErrorCode implements driver.Bucket.
func (b *bucket) ErrorCode(err error) gcerrors.ErrorCode {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return gcerrors.NotFound
	case errors.Is(err, fs.ErrExist):
		return gcerrors.FailedPrecondition
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return gcerrors.PermissionDenied
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return gcerrors.ResourceExhausted
	case errors.Is(err, errUnsupported):
		return gcerrors.Unimplemented
	case errors.Is(err, errKey):
		return gcerrors.InvalidArgument
	default:
		return gcerrors.Unknown
	}
}

// As implements driver.Bucket.
func (b *bucket) As(i any) bool {
	switch p := i.(type) {
	case *Cleaner:
		*p = b
	case *Room:
		*p = b
	default:
		return false
	}
	return true
}

// Room implements Room.
func (b *bucket) Room() (free, total uint64, err error) {
	dir, err := b.root.Open(".")
	if err != nil {
		return 0, 0, err
	}
	free, total, err = room(dir)
	return free, total, errors.Join(err, dir.Close())
}

// ErrorAs implements driver.Bucket.
func (b *bucket) ErrorAs(err error, i any) bool { return errors.As(err, i) }

var errKey = errors.New("not a key of a folder of objects")

// check refuses a key that is no plain path below the root.
func check(key string) error {
	if !fs.ValidPath(key) || key == "." || strings.ContainsRune(key, 0) || key == temporary || strings.HasPrefix(key, temporary+"/") {
		return fmt.Errorf("%w: %q", errKey, key)
	}
	return nil
}

// Attributes implements driver.Bucket.
func (b *bucket) Attributes(_ context.Context, key string) (*driver.Attributes, error) {
	if err := check(key); err != nil {
		return nil, err
	}
	info, err := b.root.Stat(key)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "stat", Path: key, Err: fs.ErrNotExist}
	}
	return &driver.Attributes{
		ModTime: info.ModTime(),
		Size:    info.Size(),
		ETag:    fmt.Sprintf("\"%x-%x\"", info.ModTime().UnixNano(), info.Size()),
		AsFunc:  func(any) bool { return false },
	}, nil
}

// Copy implements driver.Bucket.
func (b *bucket) Copy(context.Context, string, string, *driver.CopyOptions) error {
	return errUnsupported
}

// SignedURL implements driver.Bucket.
func (b *bucket) SignedURL(context.Context, string, *driver.SignedURLOptions) (string, error) {
	return "", errUnsupported
}

// Delete implements driver.Bucket. Folders that it leaves empty go with the object.
func (b *bucket) Delete(_ context.Context, key string, _ *driver.DeleteOptions) error {
	if err := check(key); err != nil {
		return err
	}
	if err := b.root.Remove(key); err != nil {
		return err
	}
	for dir := path.Dir(key); dir != "."; dir = path.Dir(dir) {
		b.flushed.Remove(dir)
		if b.root.Remove(dir) != nil {
			break // it is not empty
		}
	}
	return nil
}

// RemoveTemporary implements Cleaner.
func (b *bucket) RemoveTemporary(before time.Time) (int, error) {
	entries, err := fs.ReadDir(b.root.FS(), temporary)
	if err != nil {
		return 0, err
	}
	removed := 0
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return removed, err
		}
		if !info.ModTime().Before(before) {
			continue
		}
		if err := b.root.Remove(path.Join(temporary, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return removed, err
		}
		removed++
	}
	return removed, nil
}
