package server_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-dev/sampan/internal/harness/tool"
)

// attackEnv makes this test binary an attacker that runs as a tool: its value
// names what it does. It is given the socket as SOCKET, in the workspace.
const attackEnv = "SAMPAN_TEST_ATTACK"

var attacks = map[string]func(){
	"connect":       connect,
	"hidden leader": hiddenLeader,
	"stubborn":      stubborn,
	"limits":        lowerLimits,
	"setsid bomb":   setsidBomb,
	"threads":       manyThreads,
}

// user is nobody else's, so that a limit of its processes is of the test's only.
const user = 64997

// pid1 starts a server as first process of a PID namespace, as it is in a
// container, and as a user without rights: what a test lets loose in it ends with it.
func pid1(t *testing.T) *process {
	t.Helper()
	p := startProcess(t, &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Unshareflags: syscall.CLONE_NEWNS,
	}, fmt.Sprintf("%s=%d", userEnv, user))
	exe, err := os.Executable()
	if err == nil {
		err = os.Link(exe, p.attacker())
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// attacker is a path of this test binary that a tool can run.
func (p *process) attacker() string { return filepath.Join(p.workspace, "attacker") }

// attack runs one as a tool and gives what it printed.
func (p *process) attack(t *testing.T, name string, seconds float64) *tool.ExecResult {
	t.Helper()
	res, err := p.Exec(t.Context(), tool.ExecRequest{
		Argv: []string{p.attacker()}, TimeoutSeconds: seconds,
		Env: map[string]string{attackEnv: name, "SOCKET": p.socket, serveEnv: ""},
	})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// isolated runs a command as verifications are run.
func (p *process) isolated(t *testing.T, command string) *tool.ExecResult {
	t.Helper()
	res, err := p.Exec(t.Context(), tool.ExecRequest{Shell: command, Isolated: true, TimeoutSeconds: 30})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// alone is a command that fails when anything but the server and itself is there:
// it, the shell that counts and its two programs.
const alone = `n=$(ps -eo pid= | wc -l); echo "$n processes"; test "$n" -le 5`

func (p *process) wantAlone(t *testing.T) {
	t.Helper()
	if res := p.isolated(t, alone); res.ExitCode == nil || *res.ExitCode != 0 {
		t.Errorf("beside an isolated command: %s\n%s", res.Stdout, p.table(t))
	}
}

func (p *process) table(t *testing.T) []byte {
	t.Helper()
	res, err := p.Exec(t.Context(), tool.ExecRequest{Shell: "ps -eo pid,ppid,stat,args | tail -40"})
	if err != nil {
		t.Fatal(err)
	}
	return res.Stdout
}

// connect tries, as a tool, to give the server an order.
func connect() {
	c, err := net.Dial("unix", os.Getenv("SOCKET"))
	if err != nil {
		fmt.Println("not connected:", err)
		return
	}
	_ = c.SetDeadline(time.Now().Add(2 * time.Second))
	body := `{"shell":"touch obeyed"}`
	fmt.Fprintf(c, "POST /v1/exec HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", strings.Repeat("x", 30), len(body), body)
	answer, err := io.ReadAll(io.LimitReader(c, 1<<10))
	fmt.Printf("answer %q, %v\n", answer, err)
}

// TestStranger: tools cannot even speak to the server.
func TestStranger(t *testing.T) {
	p := pid1(t)
	res := p.attack(t, "connect", 10)
	if !strings.Contains(string(res.Stdout), `answer ""`) {
		t.Errorf("the server answered a tool: %s", res.Stdout)
	}
	if _, err := os.Stat(filepath.Join(p.workspace, "obeyed")); err == nil {
		t.Error("the server obeyed a tool")
	}
}

// TestStrangerWithoutNamespaces: where peers look alike the secret tells them apart.
func TestStrangerWithoutNamespaces(t *testing.T) {
	p := startProcess(t, nil)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	res, err := p.Exec(t.Context(), tool.ExecRequest{
		Argv: []string{exe}, Env: map[string]string{attackEnv: "connect", "SOCKET": p.socket, serveEnv: ""}, TimeoutSeconds: 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(res.Stdout), "not_owner") {
		t.Errorf("the server answered a tool: %s", res.Stdout)
	}
	if _, err := os.Stat(filepath.Join(p.workspace, "obeyed")); err == nil {
		t.Error("the server obeyed a tool")
	}
}

// hiddenLeader ends the first thread of a process that goes on: the process table
// shows it as a zombie.
func hiddenLeader() {
	go func() {
		runtime.LockOSThread()
		for {
			_, _ = unix.Select(0, nil, nil, nil, &unix.Timeval{Usec: 1000})
		}
	}()
	runtime.LockOSThread() // the main goroutine of a program starts on its first thread
	_, _ = os.Create("hidden")
	_, _, _ = unix.RawSyscall(unix.SYS_EXIT, 0, 0, 0)
}

// stubborn leaves behind what is in no session, descends from nobody and carries
// no mark.
func stubborn() {
	for range 3 {
		cmd := exec.Command("setsid", "env", "-i", "/bin/sh", "-c", "trap '' TERM HUP INT; (trap '' TERM HUP INT; sleep 1000 & sleep 1000) & sleep 1000")
		cmd.Env = []string{}
		_ = cmd.Start()
	}
}

func TestIsolated(t *testing.T) {
	p := pid1(t)
	t.Run("exit codes", func(t *testing.T) {
		for _, code := range []int{0, 7, 126} {
			res := p.isolated(t, fmt.Sprintf("exit %d", code))
			if res.ExitCode == nil || *res.ExitCode != code {
				t.Errorf("exit %d gave %+v", code, res)
			}
		}
	})
	t.Run("nothing beside it", func(t *testing.T) {
		p.attack(t, "stubborn", 10)
		p.wantAlone(t)
	})
	t.Run("no hidden leader", func(t *testing.T) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = p.Exec(t.Context(), tool.ExecRequest{
				Argv: []string{p.attacker()}, Env: map[string]string{attackEnv: "hidden leader", serveEnv: ""}, TimeoutSeconds: 20,
			}) // it is killed
		}()
		p.awaitFile(t, "hidden")
		p.wantAlone(t)
		<-done
	})
	t.Run("nothing after it", func(t *testing.T) {
		p.isolated(t, "(setsid sleep 1000 &); (setsid env -i sleep 1000 &)")
		if res, err := p.Exec(t.Context(), tool.ExecRequest{Shell: alone}); err != nil || res.ExitCode == nil || *res.ExitCode != 0 {
			t.Errorf("after an isolated command: %v\n%s", err, p.table(t))
		}
	})
	t.Run("a running command is told", func(t *testing.T) {
		done := p.busy(t)
		p.wantAlone(t)
		if err := <-done; err == nil || !strings.Contains(err.Error(), tool.ErrKilled.Error()) {
			t.Errorf("the command beside it ended with %v", err)
		}
	})
	t.Run("files", func(t *testing.T) {
		files := map[string][]byte{"test.sh": []byte("echo ran; stat -c %a $0"), "data": {0, 255}}
		res, err := p.Exec(t.Context(), tool.ExecRequest{
			Shell: `echo "$VERIFY_FILES"; ls "$VERIFY_FILES"; "$VERIFY_FILES/test.sh"; od -An -tx1 "$VERIFY_FILES/data"; stat -c %a "$VERIFY_FILES"`,
			Files: files, Isolated: true, TimeoutSeconds: 30,
		})
		if err != nil {
			t.Fatal(err)
		}
		dir, rest, _ := strings.Cut(string(res.Stdout), "\n")
		if want := "data\ntest.sh\nran\n500\n 00 ff\n500\n"; rest != want {
			t.Errorf("an isolated command with files said %q, want %q", rest, want)
		}
		if _, err := os.Stat(dir); !os.IsNotExist(err) || dir == "" {
			t.Errorf("%s is still there: %v", dir, err)
		}
		if res := p.isolated(t, `echo "$VERIFY_FILES"`); string(res.Stdout) != "\n" {
			t.Errorf("the next one has %q", res.Stdout)
		}
		for name, req := range map[string]tool.ExecRequest{
			"beside tools": {Shell: "true", Files: files},
			"elsewhere":    {Shell: "true", Files: map[string][]byte{"../x": nil}, Isolated: true},
			"parent":       {Shell: "true", Files: map[string][]byte{"..": nil}, Isolated: true},
		} {
			if _, err := p.Exec(t.Context(), req); !errors.Is(err, tool.ErrInvalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
	t.Run("home, path and environment", func(t *testing.T) {
		res := p.isolated(t, `echo "$HOME"; ls -A "$HOME"; test "$HOME" = "$TMPDIR"; echo "$?"; mkdir -p "$HOME/x/y"; chmod 500 "$HOME/x"; echo "$PATH"`)
		lines := strings.Split(strings.TrimSpace(string(res.Stdout)), "\n")
		if len(lines) != 3 || lines[1] != "0" || strings.Contains(lines[2], p.workspace) {
			t.Fatalf("an isolated command saw %q", lines)
		}
		if _, err := os.Stat(lines[0]); err == nil {
			t.Errorf("%s is still there", lines[0])
		}
	})
}

// TestPlantedProgram: what a tool puts where the server's PATH leads is not run.
func TestPlantedProgram(t *testing.T) {
	bin := t.TempDir()
	p := startProcess(t, nil, "PATH="+bin+":relative:"+os.Getenv("PATH"), "TMPDIR="+bin)
	if _, err := p.Exec(t.Context(), tool.ExecRequest{Shell: "printf '#!/bin/sh\nexit 0\n' > " + bin + "/false; chmod 755 " + bin + "/false; mkdir -p relative; cp " + bin + "/false relative/"}); err != nil {
		t.Fatal(err)
	}
	const command = "unset -f false; command -v env >/dev/null; env false"
	res, err := p.Exec(t.Context(), tool.ExecRequest{Shell: command})
	if err != nil || *res.ExitCode != 0 {
		t.Fatalf("the trap does not work: %+v, %v", res, err)
	}
	if res := p.isolated(t, command); res.ExitCode == nil || *res.ExitCode != 1 {
		t.Errorf("the planted program ran: %+v", res)
	}
}

// TestPlantedShell: nor is a shell that was there before the server, in a workspace
// that an earlier task has left.
func TestPlantedShell(t *testing.T) {
	bin := t.TempDir()
	for _, name := range []string{"bash", "sh"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/true\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p := startProcess(t, nil, "PATH="+bin+":"+os.Getenv("PATH"), "TMPDIR="+bin)
	if res := p.isolated(t, "exit 7"); res.ExitCode == nil || *res.ExitCode != 7 {
		t.Errorf("the planted shell ran: %+v", res)
	}
}

// manyThreads is one process that counts for many.
func manyThreads() {
	for range 400 {
		go func() {
			runtime.LockOSThread()
			_, _ = unix.Select(0, nil, nil, nil, &unix.Timeval{Sec: 100})
		}()
	}
	_, _ = unix.Select(0, nil, nil, nil, &unix.Timeval{Sec: 100})
}

// TestThreads: threads take the same places as processes.
func TestThreads(t *testing.T) {
	p := pid1(t)
	if res := p.attack(t, "threads", 30); !res.ProcessLimit {
		t.Errorf("400 threads, 300 allowed: %+v", res)
	}
}

// TestQueuedRequests: what is behind a slow request on a connection is not done
// when something had to be alone meanwhile.
func TestQueuedRequests(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	c := run(t, socket)
	st, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // only a test's
	var queued bytes.Buffer
	for _, command := range []string{"touch first; sleep 1000", "touch second"} {
		body := fmt.Sprintf(`{"shell":%q}`, command)
		req, _ := http.NewRequest(http.MethodPost, "http://x/v1/exec", strings.NewReader(body))
		req.Header.Set("Authorization", "Bearer "+secret)
		if err := req.Write(&queued); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Write(queued.Bytes()); err != nil {
		t.Fatal(err)
	}
	(&process{workspace: st.Workspace}).awaitFile(t, "first")
	if _, err := c.Exec(t.Context(), tool.ExecRequest{Shell: "exit 7", Isolated: true}); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	answers, err := io.ReadAll(conn)
	if err != nil || strings.Count(string(answers), "HTTP/1.1 ") != 1 || !strings.Contains(string(answers), "killed") {
		t.Errorf("answers %q, %v, want one and the end", answers, err)
	}
	if _, err := os.Stat(filepath.Join(st.Workspace, "second")); err == nil {
		t.Error("the queued request was done")
	}
}

// TestRefusedMeanwhile: nothing gets in beside an isolated command.
func TestRefusedMeanwhile(t *testing.T) {
	p := startProcess(t, nil)
	done := make(chan error, 1)
	go func() {
		_, err := p.Exec(t.Context(), tool.ExecRequest{Shell: "touch here; until test -e go; do sleep 0.01; done", Isolated: true, TimeoutSeconds: 30})
		done <- err
	}()
	p.awaitFile(t, "here")
	if _, err := p.Exec(t.Context(), tool.ExecRequest{Shell: "true"}); err == nil || !strings.Contains(err.Error(), tool.ErrIsolated.Error()) {
		t.Errorf("a command beside it: %v", err)
	}
	if _, err := p.WriteFile(t.Context(), "x", []byte("x"), tool.WriteOptions{}); err == nil || !strings.Contains(err.Error(), tool.ErrIsolated.Error()) {
		t.Errorf("a file beside it: %v", err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- p.StopAll(t.Context()) }()
	if err := os.WriteFile(filepath.Join(p.workspace, "go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("StopAll beside it, which has to wait: %v", err)
	}
}

// lowerLimits changes what commands inherit from the server.
func lowerLimits() {
	err := unix.Prlimit(1, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 1, Max: 1}, nil)
	fmt.Println("prlimit:", err)
}

func TestTamperedLimits(t *testing.T) {
	p := pid1(t)
	if res := p.attack(t, "limits", 10); !strings.Contains(string(res.Stdout), "prlimit: <nil>") {
		t.Skipf("the kernel does not allow it: %s", res.Stdout)
	}
	_, err := p.Exec(t.Context(), tool.ExecRequest{Shell: "exit 0", Isolated: true})
	if err == nil || !strings.Contains(err.Error(), "resource limit") {
		t.Errorf("an isolated command ran under the limits of a tool: %v", err)
	}
}

// setsidBomb forks in sessions of their own until it is killed.
func setsidBomb() {
	_ = syscall.Exec("/bin/sh", []string{"sh", "-c", "f() { setsid sh -c \"$0\" \"$0\" & setsid sh -c \"$0\" \"$0\" & }; f", "f() { setsid sh -c \"$0\" \"$0\" & setsid sh -c \"$0\" \"$0\" & }; f; wait"}, os.Environ())
}

// TestForkBomb: what forks without end is ended, and the next command is alone.
func TestForkBomb(t *testing.T) {
	for name, command := range map[string]string{
		"in one session":  "f() { f | f & f & }; f 2>/dev/null; sleep 1000",
		"in many":         "exec env " + attackEnv + "='setsid bomb' ./attacker 2>/dev/null",
		"under its limit": "ulimit -u 200; f() { f | f & f & }; f 2>/dev/null; sleep 0.2; exit 0",
	} {
		t.Run(name, func(t *testing.T) {
			p := pid1(t)
			began := time.Now()
			res, err := p.Exec(t.Context(), tool.ExecRequest{Shell: command, TimeoutSeconds: 3, Env: map[string]string{serveEnv: ""}})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("ended after %v: %d killed, at the limit: %v", time.Since(began), res.LeftoverKilled, res.ProcessLimit)
			if name == "in one session" && !res.ProcessLimit && !res.TimedOut {
				t.Errorf("it was not told that there were too many processes: %+v", res)
			}
			p.wantAlone(t)
		})
	}
}
