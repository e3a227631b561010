package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/sandbox/client"
	"github.com/sampan-dev/sampan/internal/sandbox/server"
)

// serveEnv makes this test binary a server, as `agent-runner sandbox` is one:
// its value is the socket and the workspace.
const serveEnv = "SAMPAN_TEST_SERVE"

func TestMain(m *testing.M) {
	if v := os.Getenv(attackEnv); v != "" {
		attacks[v]()
		os.Exit(0)
	}
	if v := os.Getenv(serveEnv); v != "" {
		socket, workspace, _ := strings.Cut(v, "|")
		if os.Getpid() == 1 {
			if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
				panic(err)
			}
		}
		if err := drop(os.Getenv(userEnv)); err != nil {
			panic(err)
		}
		if err := server.Protect(); err != nil {
			panic(err)
		}
		opts := server.Options{SocketPath: socket, Workspace: workspace, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
		opts.Engine.MaxProcesses = 300
		if err := server.Run(context.Background(), opts); err != nil {
			println(err.Error())
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// userEnv is the user that a server becomes, and the most processes that it may have.
const userEnv = "SAMPAN_TEST_USER"

// userProcesses bounds, by the kernel, what a test lets loose.
const userProcesses = 2000

func drop(user string) error {
	if user == "" {
		return nil
	}
	id, err := strconv.Atoi(user)
	if err != nil {
		return err
	}
	limit := &syscall.Rlimit{Cur: userProcesses, Max: userProcesses}
	return errors.Join(syscall.Setrlimit(unix.RLIMIT_NPROC, limit), syscall.Setgroups(nil), syscall.Setgid(id), syscall.Setuid(id))
}

// process is a server in a process of its own.
type process struct {
	*client.Client
	cmd       *exec.Cmd
	socket    string
	workspace string
	exited    chan error
}

// startProcess starts one; env is added to its environment.
func startProcess(t *testing.T, attr *syscall.SysProcAttr, env ...string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{socket: filepath.Join(openDir(t), "s"), workspace: openDir(t), exited: make(chan error, 1)}
	p.cmd = exec.Command(exe)
	// The race detector would sleep a second before it lets a process end.
	p.cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", serveEnv+"="+p.socket+"|"+p.workspace)
	p.cmd.Env = append(p.cmd.Env, env...)
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = attr
	if err := p.cmd.Start(); err != nil {
		t.Skipf("cannot start a server this way here: %v", err)
	}
	go func() { p.exited <- p.cmd.Wait() }()
	p.Client = client.NewWithSecret(p.socket, secret)
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		_ = p.Close()
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := p.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	return p
}

// openDir is a folder that any user can use.
func openDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// busy starts a stubborn command and waits until it runs.
func (p *process) busy(t *testing.T) <-chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		_, err := p.Exec(t.Context(), tool.ExecRequest{Shell: "trap '' TERM; touch started; (setsid sleep 1000 &); sleep 1000; sleep 1000"})
		done <- err
	}()
	p.awaitFile(t, "started")
	return done
}

// awaitFile waits until a command has made a file.
func (p *process) awaitFile(t *testing.T, name string) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		if _, err := os.Stat(filepath.Join(p.workspace, name)); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no command has made %s", name)
		}
	}
}

// wantGone checks that the server exited with status 0, and left neither processes
// nor its socket.
func (p *process) wantGone(t *testing.T) {
	t.Helper()
	select {
	case err := <-p.exited:
		if err != nil {
			t.Errorf("the server ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the server has not ended")
	}
	if _, err := os.Lstat(p.socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	if left := inWorkspace(p.workspace); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
}

// inWorkspace finds processes by the environment that every command gets.
func inWorkspace(workspace string) (pids []string) {
	names, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, n := range names {
		if data, err := os.ReadFile(n); err == nil && bytes.Contains(data, []byte("\x00PWD="+workspace+"\x00")) {
			pids = append(pids, n)
		}
	}
	return pids
}

// wantNoneLeft waits until no process of a workspace is left.
func wantNoneLeft(t *testing.T, workspace string) {
	t.Helper()
	giveUp := time.After(time.Minute)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		left := inWorkspace(workspace)
		if len(left) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-giveUp:
			t.Fatalf("processes are left: %v", left)
		}
	}
}

func TestSIGTERM(t *testing.T) {
	for name, attr := range map[string]*syscall.SysProcAttr{
		"process": nil,
		"PID 1":   {Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Unshareflags: syscall.CLONE_NEWNS},
	} {
		t.Run(name, func(t *testing.T) {
			p := startProcess(t, attr)
			done := p.busy(t)
			if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			if err := <-done; !errors.Is(err, tool.ErrExecutorGone) {
				t.Errorf("Exec gave %v, want ErrExecutorGone", err)
			}
			p.wantGone(t)
		})
	}
}

func TestShutdown(t *testing.T) {
	p := startProcess(t, nil)
	done := p.busy(t)
	if err := p.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, tool.ErrExecutorGone) {
		t.Errorf("Exec gave %v, want ErrExecutorGone", err)
	}
	p.wantGone(t)
	if err := p.Shutdown(t.Context()); err != nil {
		t.Errorf("a second Shutdown: %v", err)
	}
}

// TestServerDies: SIGKILL leaves it no time for anything, and the kernel ends
// its command.
func TestServerDies(t *testing.T) {
	p := startProcess(t, nil)
	done := make(chan error, 1)
	go func() {
		_, err := p.Exec(t.Context(), tool.ExecRequest{Shell: "touch started; exec sleep 1000"})
		done <- err
	}()
	p.awaitFile(t, "started")
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, tool.ErrExecutorGone) {
		t.Errorf("Exec gave %v, want ErrExecutorGone", err)
	}
	if _, err := p.ReadFile(t.Context(), "started", 10); !errors.Is(err, tool.ErrExecutorGone) {
		t.Errorf("ReadFile gave %v, want ErrExecutorGone", err)
	}
	wantNoneLeft(t, p.workspace)
	// The next server takes the place of the stale socket.
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, server.Options{SocketPath: p.socket, Workspace: p.workspace}) }()
	next := client.New(p.socket)
	defer next.Close() //nolint:errcheck // only read
	patience, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	if err := next.WaitReady(patience); err != nil {
		t.Error(err)
	}
	// A client of the one that died does not take the next for it.
	if _, err := p.Status(t.Context()); !errors.Is(err, tool.ErrExecutorGone) {
		t.Errorf("Status of the dead server gave %v, want ErrExecutorGone", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestImpostor: what tools start is the server's user and can take its socket's
// place, but not its client: that would be the way to forge an exit status.
func TestImpostor(t *testing.T) {
	p := startProcess(t, nil)
	busy := p.busy(t) // on the connection that is there already, so that the next call makes one
	if err := os.Rename(p.socket, p.socket+".real"); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", p.socket)
	if err != nil {
		t.Fatal(err)
	}
	forged := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"exitCode":0,"protocol":1}`)
	})}
	go func() { _ = forged.Serve(l) }()
	defer forged.Close() //nolint:errcheck // only a test's
	res, err := p.Exec(t.Context(), tool.ExecRequest{Shell: "exit 7"})
	if err != nil || res.ExitCode == nil || *res.ExitCode != 7 {
		t.Fatalf("Exec gave %+v, %v, want the real server's exit code 7", res, err)
	}
	if err := p.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-busy; !errors.Is(err, tool.ErrExecutorGone) {
		t.Errorf("the busy command ended with %v, want ErrExecutorGone", err)
	}
}

// TestReaps: as PID 1, orphans that end by themselves are no zombies for long,
// and commands keep their exact exit status meanwhile.
func TestReaps(t *testing.T) {
	p := startProcess(t, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Unshareflags: syscall.CLONE_NEWNS})
	long := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, err := p.Exec(ctx, tool.ExecRequest{Shell: "while :; do (setsid sleep 0.01 &); sleep 0.005; done"})
		long <- err
	}()
	for i := range 200 {
		res, err := p.Exec(t.Context(), tool.ExecRequest{Shell: "(sleep 0.001 &) ; exit $CODE", Env: map[string]string{"CODE": fmt.Sprint(i)}})
		if err != nil || res.ExitCode == nil || *res.ExitCode != i {
			t.Fatalf("round %d: %+v, %v", i, res, err)
		}
	}
	cancel()
	if err := <-long; !errors.Is(err, context.Canceled) {
		t.Errorf("the long command ended with %v", err)
	}
	deadline := time.Now().Add(time.Minute)
	for {
		res, err := p.Exec(t.Context(), tool.ExecRequest{Shell: `ps -eo stat= | grep -c '^Z'; ps -eo pid= | wc -l`})
		if err != nil {
			t.Fatal(err)
		}
		// PID 1, the shell, ps and wc.
		if f := strings.Fields(string(res.Stdout)); len(f) == 2 && f[0] == "0" && f[1] == "4" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("zombies and processes: %q", res.Stdout)
		}
	}
}

// TestStopAllAsPID1: what is never the same process for longer than a look at the
// process table, and what nobody started here, ends too.
func TestStopAllAsPID1(t *testing.T) {
	p := startProcess(t, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Unshareflags: syscall.CLONE_NEWNS})
	done := make(chan error, 1)
	go func() {
		_, err := p.Exec(t.Context(), tool.ExecRequest{Shell: "hop() { hop & exit; }; (setsid env -i sleep 1000 &); (hop &); touch started; sleep 1000"})
		done <- err
	}()
	p.awaitFile(t, "started")
	entered := exec.Command("nsenter", "--pid", "--mount", "--target", fmt.Sprint(p.cmd.Process.Pid), "sleep", "1001")
	if err := entered.Start(); err != nil {
		t.Fatal(err)
	}
	if res, err := p.Exec(t.Context(), tool.ExecRequest{Shell: "until ps -eo args= | grep -qx 'sleep 1001'; do sleep 0.01; done", TimeoutSeconds: 10}); err != nil || res.TimedOut {
		t.Fatalf("nothing was entered: %+v, %v", res, err)
	}
	if err := p.StopAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, tool.ErrKilled) {
		t.Errorf("the command ended with %v, want ErrKilled", err)
	}
	gone := make(chan struct{})
	go func() {
		_ = entered.Wait() // it was killed
		close(gone)
	}()
	select {
	case <-gone:
	case <-time.After(time.Minute):
		t.Error("what was entered from outside was not killed")
		_ = entered.Process.Kill()
		<-gone
	}
	res, err := p.Exec(t.Context(), tool.ExecRequest{Shell: "ps -eo pid= | wc -l"})
	if err != nil || strings.TrimSpace(string(res.Stdout)) != "4" {
		t.Errorf("afterwards %s processes (%v), want 4", res.Stdout, err)
	}
}

func toolShell(command string) tool.ExecRequest { return tool.ExecRequest{Shell: command} }

// dialAs sends the owner's request on a connection of its own and leaves the answer there.
func dialAs(t *testing.T, p *process, method, path, body string) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", p.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	req, err := http.NewRequestWithContext(t.Context(), method, "http://x"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	if err := req.Write(conn); err != nil {
		t.Fatal(err)
	}
	return conn
}

func createFile(t *testing.T, p *process, name string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(p.workspace, name), nil, 0o644); err != nil {
		t.Fatal(err)
	}
}
