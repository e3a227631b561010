package box

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-dev/sampan/internal/eval/tree"
	"github.com/sampan-dev/sampan/internal/sandbox/client"
)

// readyTimeout bounds the start of a box.
const readyTimeout = time.Minute

// Box is one that runs. Its server obeys the first client that greets it.
type Box struct {
	// Socket is that of its sandbox server.
	Socket string

	run      string
	lifeline *os.File
	ended    chan struct{}
	said     *tail
	cmd      *exec.Cmd
}

// Start makes a box with a sandbox server in it. exe is the executable of agent-runner.
// The box ends with Close, and with this process.
func Start(ctx context.Context, exe string, spec Spec) (*Box, error) {
	run, err := os.MkdirTemp("", "sampan-box-")
	if err != nil {
		return nil, err
	}
	b := &Box{Socket: filepath.Join(run, socket), run: run, ended: make(chan struct{}), said: &tail{}}
	if err := os.Mkdir(filepath.Join(run, mountPoint), 0o700); err != nil {
		return nil, errors.Join(err, tree.Remove(run))
	}
	if err := b.start(plan{Spec: spec, Run: run, Program: exe}); err != nil {
		return nil, errors.Join(err, tree.Remove(run))
	}
	if err := b.waitReady(ctx); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// start starts the process that starts the first one in the box.
func (b *Box) start(p plan) error {
	theirs, lifeline, err := os.Pipe()
	if err != nil {
		return err
	}
	planOut, planIn, err := os.Pipe()
	if err != nil {
		return errors.Join(err, theirs.Close(), lifeline.Close())
	}
	b.lifeline = lifeline
	b.cmd = exec.Command(p.Program) //nolint:noctx // it ends with its lifeline
	b.cmd.Args = []string{"agent-runner", Command, SpawnCommand, fmt.Sprintf("--no-network=%t", p.NoNetwork)}
	b.cmd.Env = []string{"GORACE=" + os.Getenv("GORACE")}
	b.cmd.Stdin, b.cmd.Stderr, b.cmd.ExtraFiles = theirs, b.said, []*os.File{planOut}
	err = b.cmd.Start()
	err = errors.Join(err, theirs.Close(), planOut.Close())
	if err != nil {
		return errors.Join(err, lifeline.Close(), planIn.Close())
	}
	go func() {
		_ = b.cmd.Wait() // how it ended is told by what it said
		close(b.ended)
	}()
	return errors.Join(json.NewEncoder(planIn).Encode(p), planIn.Close())
}

// Spawn starts the first process of a box, which reads its plan, and ends it with the
// lifeline. It is a process of its own since one that keeps what it knows to itself, as that
// of an eval, cannot map users for its children, unless it is root.
func Spawn(lifeline io.Reader, planFile *os.File, noNetwork bool) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	theirs, ours, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ours.Close() //nolint:errcheck // this process ends with it
	cmd := child(exe, Command, EnterCommand)
	cmd.Stdin, cmd.Stderr, cmd.ExtraFiles = theirs, os.Stderr, []*os.File{planFile}
	cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUTS
	if noNetwork {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWNET
	}
	if err := cmd.Start(); err != nil {
		return unsupported(err)
	}
	go func() {
		_, _ = io.Copy(io.Discard, lifeline)
		_ = cmd.Process.Kill() // it may have ended
	}()
	_ = cmd.Wait() // how it ended is told by what it said
	return errors.Join(theirs.Close(), planFile.Close())
}

// child is a process of agent-runner in new namespaces, where it may mount.
func child(exe string, args ...string) *exec.Cmd {
	cmd := exec.Command(exe) //nolint:noctx // its end is that of its lifeline, or of its parent
	cmd.Args = append([]string{"agent-runner"}, args...)
	cmd.Env = []string{"GORACE=" + os.Getenv("GORACE")}
	id := func(outside int) []syscall.SysProcIDMap {
		return []syscall.SysProcIDMap{{ContainerID: user, HostID: outside, Size: 1}}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC,
		UidMappings: id(os.Getuid()), GidMappings: id(os.Getgid()),
		AmbientCaps: []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SETPCAP, unix.CAP_NET_ADMIN},
	}
	return cmd
}

// unsupported says what may be wrong with a machine that gives no namespaces.
func unsupported(err error) error {
	return fmt.Errorf("starting a process in namespaces of its own: %w; evals need Linux 5.12 or newer with user namespaces "+
		"(sysctl user.max_user_namespaces, and on some systems kernel.apparmor_restrict_unprivileged_userns=0, or run as root)", err)
}

// waitReady waits until the server answers, without becoming its owner.
func (b *Box) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	next := time.NewTicker(5 * time.Millisecond)
	defer next.Stop()
	for {
		if _, err := os.Lstat(b.Socket); err == nil {
			return nil
		}
		select {
		case <-next.C:
		case <-b.ended:
			return fmt.Errorf("the box did not start: %s", b.said.String())
		case <-ctx.Done():
			return fmt.Errorf("waiting for the box: %w: %s", ctx.Err(), b.said.String())
		}
	}
}

// Client is a client of the box's server.
func (b *Box) Client() *client.Client { return client.New(b.Socket) }

// Close kills every process of the box, waits until none is left, and removes what was
// made for it.
func (b *Box) Close() error {
	_ = b.lifeline.Close()    // it may have been closed
	<-b.ended                 // the kernel ends a namespace before its first process is gone
	return tree.Remove(b.run) // its mounts were in a namespace that is gone
}

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

const tailBytes = 4 << 10

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf.Write(p)
	if over := t.buf.Len() - tailBytes; over > 0 {
		t.buf.Next(over)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(t.buf.String())
}
