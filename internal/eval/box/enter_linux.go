package box

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/sampan-dev/sampan/internal/sandbox/server"
)

// Enter makes the box, as the first process of its namespaces, from a plan that it reads,
// and becomes its server. It returns only to fail.
func Enter(in io.Reader) error {
	runtime.LockOSThread() // capabilities are a thread's
	var p plan
	if err := json.NewDecoder(in).Decode(&p); err != nil {
		return fmt.Errorf("reading what the box has: %w", err)
	}
	root := filepath.Join(p.Run, mountPoint)
	m := &mounter{root: root}
	m.mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	m.mount("tmpfs", root, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755")
	m.system()
	for _, e := range append([]string{"/tmp", "/var/tmp", "/dev/shm", home}, p.Empty...) {
		m.empty(e)
	}
	for _, b := range append([]Mount{{p.Run, runDir, true}, {p.Program, program, true}}, p.Mounts...) {
		m.bind(b)
	}
	m.write("/etc/passwd", fmt.Sprintf("root:x:0:0:root:/root:/bin/sh\nagent:x:%d:%d:agent:%s:/bin/bash\nnobody:x:65534:65534:nobody:/:/bin/false\n", user, user, home))
	m.write("/etc/group", fmt.Sprintf("root:x:0:\nagent:x:%d:\nnogroup:x:65534:\n", user))
	m.write("/etc/hosts", "127.0.0.1 localhost sandbox\n::1 localhost\n")
	// The server finds it made: its folder is one that nobody in the box may write to.
	var listener int
	m.do("making the server's socket", func() (err error) {
		listener, err = listen(filepath.Join(p.Run, socket))
		return err
	})
	m.pivot()
	if p.NoNetwork {
		m.do("bringing the loopback interface up", loopbackUp)
	}
	m.do("naming the host", func() error { return unix.Sethostname([]byte("sandbox")) })
	m.do("giving up privileges", dropPrivileges)
	if m.err != nil {
		return m.err
	}
	args := []string{"agent-runner", Command, ServeCommand, "--workspace", p.Workspace, "--listener", strconv.Itoa(listener)}
	return fmt.Errorf("starting the server: %w", unix.Exec(program, args, append(p.environment(), "GORACE="+os.Getenv("GORACE"))))
}

// listen makes a socket and gives the descriptor that listens, for the program that this
// process becomes.
func listen(path string) (int, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"}) // in a folder of this user's alone
	if err != nil {
		return 0, err
	}
	l.SetUnlinkOnClose(false)
	f, err := l.File()
	if err != nil {
		return 0, err
	}
	return unix.Dup(int(f.Fd())) // without the flag that closes it
}

// Serve is the server of a box, by a descriptor that listens; it ends with the lifeline.
func Serve(ctx context.Context, workspace string, listener int, lifeline io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := server.Protect(); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, lifeline)
		cancel()
	}()
	unix.CloseOnExec(listener)
	l, err := net.FileListener(os.NewFile(uintptr(listener), socket))
	if err != nil {
		return fmt.Errorf("using the socket of the box: %w", err)
	}
	unixListener, ok := l.(*net.UnixListener)
	if !ok {
		return fmt.Errorf("the socket of the box is a %T", l)
	}
	return server.Run(ctx, server.Options{SocketPath: filepath.Join(runDir, socket), Listener: unixListener, Workspace: workspace})
}

// mounter does one thing after another until one fails.
type mounter struct {
	root string
	err  error
}

func (m *mounter) do(what string, f func() error) {
	if m.err != nil {
		return
	}
	if err := f(); err != nil {
		m.err = fmt.Errorf("%s: %w", what, err)
	}
}

func (m *mounter) mount(source, target, kind string, flags uintptr, data string) {
	m.do("mounting "+target, func() error { return unix.Mount(source, target, kind, flags, data) })
}

// in is a path of the box, here.
func (m *mounter) in(path string) string { return filepath.Join(m.root, path) }

// empty makes a folder that ends with the box.
func (m *mounter) empty(path string) {
	m.do("making "+path, func() error { return os.MkdirAll(m.in(path), 0o755) })
	m.mount("tmpfs", m.in(path), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777")
}

func (m *mounter) write(path, text string) {
	m.do("writing "+path, func() error { return os.WriteFile(m.in(path), []byte(text), 0o644) })
}

// bind shows a file or a folder, with what is mounted in it.
func (m *mounter) bind(b Mount) {
	m.do("showing "+b.Source, func() error {
		attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
		if b.ReadOnly {
			attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
		}
		return m.show(b.Source, b.Target, &attr)
	})
}

func (m *mounter) show(source, target string, attr *unix.MountAttr) error {
	to := m.in(target)
	if err := makeTarget(source, to); err != nil {
		return err
	}
	if err := unix.Mount(source, to, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	if attr == nil {
		return nil
	}
	return unix.MountSetattr(unix.AT_FDCWD, to, unix.AT_RECURSIVE, attr)
}

func makeTarget(source, target string) error {
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return os.MkdirAll(target, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(target, os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// system shows programs, libraries, devices and processes.
func (m *mounter) system() {
	for _, dir := range Shown() {
		m.do("showing "+dir, func() error {
			info, err := os.Lstat(dir)
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			if err == nil && info.Mode()&os.ModeSymlink != 0 {
				var to string
				if to, err = os.Readlink(dir); err == nil {
					return os.Symlink(to, m.in(dir))
				}
			}
			if err != nil {
				return err
			}
			m.bind(Mount{dir, dir, true})
			return nil
		})
	}
	m.do("making /etc", func() error { return os.MkdirAll(m.in("/etc"), 0o755) })
	for _, path := range configuration() {
		if _, err := os.Stat(path); err == nil {
			m.bind(Mount{path, path, true})
		}
	}
	for _, path := range devices() {
		m.do("showing "+path, func() error { return m.show(path, path, nil) })
	}
	for to, link := range map[string]string{"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx"} {
		m.do("linking /dev/"+to, func() error { return os.Symlink(link, m.in("/dev/"+to)) })
	}
	for _, dir := range []string{"/dev/pts", "/proc"} {
		m.do("making "+dir, func() error { return os.MkdirAll(m.in(dir), 0o755) })
	}
	m.mount("devpts", m.in("/dev/pts"), "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620")
	m.mount("proc", m.in("/proc"), "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
}

// pivot makes the root of the box that of this process, and lets go of the other.
func (m *mounter) pivot() {
	m.do("changing the root", func() error {
		if err := unix.Chdir(m.root); err != nil {
			return err
		}
		if err := unix.PivotRoot(".", "."); err != nil {
			return err
		}
		if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
			return err
		}
		if err := unix.Chdir("/"); err != nil {
			return err
		}
		return unix.MountSetattr(unix.AT_FDCWD, "/", 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	})
}

// loopbackUp brings the only interface of a new network namespace up.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(uint16(net.FlagUp)) // IFF_UP is 1, as FlagUp
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
}

// dropPrivileges gives up every capability of this thread, for good: what it executes next
// can mount nothing here, and no setuid program gives it any.
func dropPrivileges() error {
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) { // one that this kernel does not have
			return err
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	return unix.Capset(&header, &none[0])
}
