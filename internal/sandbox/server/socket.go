package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"
)

// socket is a listener on a unix socket that only this user can connect to.
type socket struct {
	*net.UnixListener
	path string
	info fs.FileInfo
	log  *slog.Logger
	// refused counts connections of strangers.
	refused int
}

// refusalsTold bounds how often a refused connection is logged: tools could fill
// the log with it.
const refusalsTold = 10

// Accept implements net.Listener. It takes no connections of tools.
func (s *socket) Accept() (net.Conn, error) {
	for {
		c, err := s.AcceptUnix()
		if err != nil {
			return nil, err
		}
		if mayConnect(c) {
			return c, nil
		}
		_ = c.Close()
		if s.refused++; s.refused <= refusalsTold {
			s.log.Warn("Refused a connection from inside the sandbox", "count", s.refused)
		}
	}
}

// listen gives the listener that there is, or else makes one.
func (o Options) listen(log *slog.Logger) (*socket, error) {
	if o.Listener == nil {
		return listen(o.SocketPath, log)
	}
	info, err := os.Lstat(o.SocketPath)
	if err != nil {
		return nil, err
	}
	return &socket{UnixListener: o.Listener, path: o.SocketPath, info: info, log: log}, nil
}

// listen puts a socket at path. It is bound under another name and renamed when
// its mode is right, so that nobody can connect before, and so that the stale
// socket of a server that was killed is replaced in one step. A server that is
// alive, or a file that is no socket, is left alone.
func listen(path string, log *slog.Logger) (*socket, error) {
	if err := stale(path); err != nil {
		return nil, err
	}
	tmp := path + "." + strconv.Itoa(os.Getpid())
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("removing %s: %w", tmp, err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: tmp, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false)
	if err = os.Chmod(tmp, 0o600); err == nil {
		err = os.Rename(tmp, path)
	}
	if err == nil {
		var info fs.FileInfo
		if info, err = os.Lstat(path); err == nil {
			return &socket{UnixListener: l, path: path, info: info, log: log}, nil
		}
	}
	_ = l.Close()
	_ = os.Remove(tmp)
	return nil, fmt.Errorf("putting the socket at %s: %w", path, err)
}

// stale makes sure that path is free or holds a socket that nobody serves.
func stale(path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking at %s: %w", path, err)
	}
	if st.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is there and is no socket: not replacing it", path)
	}
	// Not under a caller's context: one that has ended would make a live server look dead.
	d := net.Dialer{Timeout: time.Second}
	c, err := d.DialContext(context.Background(), "unix", path)
	if err == nil {
		_ = c.Close()
		return fmt.Errorf("another server is listening on %s", path)
	}
	return nil
}

// remove takes the socket away, unless somebody else's is there by now.
func (s *socket) remove() {
	if now, err := os.Lstat(s.path); err == nil && os.SameFile(now, s.info) {
		_ = os.Remove(s.path)
	}
}
