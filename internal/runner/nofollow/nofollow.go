// Package nofollow opens what is in a folder of somebody who is not trusted: each file by
// its folder's descriptor and a single name, with no symlink followed, not even one that
// stays inside, as os.Root would.
package nofollow

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// openFlags are for whatever is opened: no link is followed, and nothing waits, as
// a fifo would, for who is at its other end.
const openFlags = unix.O_CLOEXEC | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_NOCTTY

// OpenRoot opens the folder itself, whose own path is trusted.
func OpenRoot(path string) (int, error) {
	fd, err := Retry(func() (int, error) {
		return unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}

// OpenAt opens a name in a folder; a link is not followed, and nothing is waited for.
func OpenAt(folder int, name string, flags int, mode uint32) (int, error) {
	return Retry(func() (int, error) { return unix.Openat(folder, name, openFlags|flags, mode) })
}

// OpenFolder opens a folder in a folder.
func OpenFolder(parent int, name string) (int, error) {
	return OpenAt(parent, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
}

// Close closes what was only read from.
func Close(fd int) { _ = unix.Close(fd) }

// Retry repeats a call that a signal has cut short.
func Retry[T any](call func() (T, error)) (T, error) {
	for {
		v, err := call()
		if !errors.Is(err, unix.EINTR) {
			return v, err
		}
	}
}

// Gone tells the errors of a name that is not any more what it was: removed, or a
// link or something else in its place.
func Gone(err error) bool {
	for _, e := range []error{unix.ENOENT, unix.ENOTDIR, unix.ELOOP, unix.ENXIO, unix.ESTALE, unix.EISDIR} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Denied tells the errors of what this process may not do.
func Denied(err error) bool { return errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) }

// Cursor opens the folders of paths that come in the order of a walk, each once.
type Cursor struct {
	root int
	// dir is the folder that is open now, and fds and ends have for each of its names
	// the descriptor and its end in dir.
	dir  string
	fds  []int
	ends []int
}

// NewCursor begins in an open folder, which stays open.
func NewCursor(root int) *Cursor { return &Cursor{root: root} }

// At gives a path's folder, open until the next call, and its name.
func (c *Cursor) At(path string) (folder int, name string, err error) {
	dir, name := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		dir, name = path[:i], path[i+1:]
	}
	if dir != c.dir {
		if err := c.move(dir); err != nil {
			return -1, "", fmt.Errorf("opening the folder %q: %w", dir, err)
		}
	}
	return c.top(), name, nil
}

func (c *Cursor) top() int {
	if len(c.fds) == 0 {
		return c.root
	}
	return c.fds[len(c.fds)-1]
}

// move leaves the folders that the next one is not in, and opens those to it.
func (c *Cursor) move(dir string) error {
	for len(c.ends) > 0 && !Within(dir, c.dir[:c.ends[len(c.ends)-1]]) {
		c.pop()
	}
	for len(c.dir) < len(dir) {
		start := len(c.dir)
		if start > 0 {
			start++
		}
		end := len(dir)
		if i := strings.IndexByte(dir[start:], '/'); i >= 0 {
			end = start + i
		}
		fd, err := OpenFolder(c.top(), dir[start:end])
		if err != nil {
			return err
		}
		c.fds, c.ends, c.dir = append(c.fds, fd), append(c.ends, end), dir[:end]
	}
	return nil
}

func (c *Cursor) pop() {
	n := len(c.fds) - 1
	Close(c.fds[n])
	c.fds, c.ends = c.fds[:n], c.ends[:n]
	end := 0
	if n > 0 {
		end = c.ends[n-1]
	}
	c.dir = c.dir[:end]
}

// Close closes what is open.
func (c *Cursor) Close() {
	for len(c.fds) > 0 {
		c.pop()
	}
}

// Within tells whether a path is a folder or in it.
func Within(path, folder string) bool {
	return strings.HasPrefix(path, folder) && (len(path) == len(folder) || path[len(folder)] == '/')
}

// ReadAll fills a buffer as far as the file goes.
func ReadAll(fd int, buf []byte, offset int64) (int, error) {
	n := 0
	for n < len(buf) {
		more, err := Retry(func() (int, error) { return unix.Pread(fd, buf[n:], offset+int64(n)) })
		if errors.Is(err, unix.ESTALE) || err == nil && more == 0 {
			break
		}
		if err != nil {
			return n, err
		}
		n += more
	}
	return n, nil
}
