package snapshot

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

// openRoot opens the folder that is taken or restored. Its own path is trusted.
func openRoot(path string) (int, error) {
	fd, err := retry(func() (int, error) {
		return unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}

func openAt(folder int, name string, flags int, mode uint32) (int, error) {
	return retry(func() (int, error) { return unix.Openat(folder, name, openFlags|flags, mode) })
}

func openFolder(parent int, name string) (int, error) {
	return openAt(parent, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
}

// closeFolder closes what was only read from.
func closeFolder(fd int) { _ = unix.Close(fd) }

// retry repeats a call that a signal has cut short.
func retry[T any](call func() (T, error)) (T, error) {
	for {
		v, err := call()
		if !errors.Is(err, unix.EINTR) {
			return v, err
		}
	}
}

// gone tells the errors of a name that is not any more what it was: removed, or a
// link or something else in its place.
func gone(err error) bool {
	for _, e := range []error{unix.ENOENT, unix.ENOTDIR, unix.ELOOP, unix.ENXIO, unix.ESTALE, unix.EISDIR} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func denied(err error) bool { return errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) }

// cursor opens the folders of paths that come in the order of a walk, each once.
type cursor struct {
	root int
	// dir is the folder that is open now, and fds and ends have for each of its names
	// the descriptor and its end in dir.
	dir  string
	fds  []int
	ends []int
}

func newCursor(root int) *cursor { return &cursor{root: root} }

// at gives a path's folder, open until the next call, and its name.
func (c *cursor) at(path string) (folder int, name string, err error) {
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

func (c *cursor) top() int {
	if len(c.fds) == 0 {
		return c.root
	}
	return c.fds[len(c.fds)-1]
}

// move leaves the folders that the next one is not in, and opens those to it.
func (c *cursor) move(dir string) error {
	for len(c.ends) > 0 && !within(dir, c.dir[:c.ends[len(c.ends)-1]]) {
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
		fd, err := openFolder(c.top(), dir[start:end])
		if err != nil {
			return err
		}
		c.fds, c.ends, c.dir = append(c.fds, fd), append(c.ends, end), dir[:end]
	}
	return nil
}

func (c *cursor) pop() {
	n := len(c.fds) - 1
	closeFolder(c.fds[n])
	c.fds, c.ends = c.fds[:n], c.ends[:n]
	end := 0
	if n > 0 {
		end = c.ends[n-1]
	}
	c.dir = c.dir[:end]
}

func (c *cursor) close() {
	for len(c.fds) > 0 {
		c.pop()
	}
}

// within tells whether a path is a folder or in it.
func within(path, folder string) bool {
	return strings.HasPrefix(path, folder) && (len(path) == len(folder) || path[len(folder)] == '/')
}
