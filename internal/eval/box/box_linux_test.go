package box

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sampan-dev/sampan/internal/harness/tool"
	"github.com/sampan-dev/sampan/internal/sandbox/server"
)

// TestMain lets the test binary be the agent-runner of a box.
func TestMain(m *testing.M) {
	if len(os.Args) < 3 || os.Args[1] != Command {
		os.Exit(m.Run())
	}
	code, err := 0, error(nil)
	switch os.Args[2] {
	case SpawnCommand:
		err = Spawn(os.Stdin, os.NewFile(3, "plan"), os.Args[3] == "--no-network=true")
	case "protected": // starts a box as an eval does
		err = protected()
	case EnterCommand:
		err = Enter(os.NewFile(3, "plan"))
	case ServeCommand:
		var listener int
		if listener, err = strconv.Atoi(os.Args[6]); err == nil {
			err = Serve(context.Background(), os.Args[4], listener, os.Stdin)
		}
	case ConfineCommand:
		code, err = Confine(os.Args[4:])
	case ConfinedCommand:
		err = Confined(os.Args[4:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// protected starts a box from a process that keeps what it knows to itself.
func protected() error {
	exe, err := os.Executable()
	if err == nil {
		err = server.Protect()
	}
	if err != nil {
		return err
	}
	b, err := Start(context.Background(), exe, Spec{Empty: []string{"/app"}, Workspace: "/app"})
	if err != nil {
		return err
	}
	c := b.Client()
	ready, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return errors.Join(c.WaitReady(ready), c.Close(), b.Close())
}

func TestBoxOfAProtectedUserStarts(t *testing.T) {
	dir, err := os.MkdirTemp("", "box-") // others may enter it, unlike t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, "agent-runner")
	if err := errors.Join(os.WriteFile(copied, program, 0o755), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), copied, Command, "protected")
	cmd.Dir, cmd.Env = "/", []string{"GORACE=atexit_sleep_ms=0"}
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// enter starts a box with a workspace and a folder of tests, and gives how to run a command there.
func enter(t *testing.T, spec Spec) (run func(command string) string, workspace string) {
	t.Helper()
	t.Setenv("GORACE", "atexit_sleep_ms=0")
	dir := t.TempDir()
	workspace = filepath.Join(dir, "workspace")
	tests := filepath.Join(dir, "tests")
	for _, d := range []string{workspace, tests} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(tests, "test.sh"), []byte("expected"), 0o644); err != nil {
		t.Fatal(err)
	}
	spec.Workspace = "/app"
	spec.Mounts = append(spec.Mounts, Mount{workspace, "/app", false}, Mount{tests, "/tests", true})
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := Start(t.Context(), exe, spec)
	if err != nil {
		t.Fatal(err)
	}
	c := b.Client()
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	ready, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.WaitReady(ready); err != nil {
		t.Fatal(err)
	}
	return func(command string) string {
		t.Helper()
		got, err := c.Exec(t.Context(), tool.ExecRequest{Shell: command, MergeStderr: true})
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(got.Stdout))
	}, workspace
}

func TestBoxHasNothingButWhatItIsGiven(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "outcome")
	if err := os.WriteFile(secret, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	run, workspace := enter(t, Spec{Env: []string{"GREETING=hi", "GREETING=hello", "PATH=/usr/bin:/bin:/usr/sbin"}, NoNetwork: true})
	for command, want := range map[string]string{
		"id -u; pwd; echo $GREETING $PATH; cat /tests/test.sh": "1000\n/app\nhello /usr/bin:/bin:/usr/sbin\nexpected",
		"cat " + secret + " 2>/dev/null || echo none":          "none",
		"ls -d /root /home/*":                                  "ls: cannot access '/root': No such file or directory\n/home/agent",
		"for f in /tests/test.sh /usr/bin/x /etc/passwd /x /run/agent-runner; do (echo bad > $f) 2>/dev/null && echo wrote $f; done":     "",
		"mount -o remount,rw / 2>/dev/null; umount /tests 2>/dev/null; mount -t tmpfs x /tmp 2>/dev/null; grep CapEff /proc/self/status": "CapEff:\t0000000000000000",
		// In namespaces of its own a process has capabilities, and the mounts are locked.
		"unshare -Ur sh -c 'mount -o remount,rw,bind /tests && echo bad > /tests/test.sh' 2>/dev/null; cat /tests/test.sh": "expected",
		"ls /proc | grep -c '^[0-9]*$' | awk '{print ($1 < 8)}'":                                                           "1",
		"cat /proc/1/environ 2>/dev/null | tr '\\0' '\\n' | grep -c PATH":                                                  "0",
		"tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '":                                                               "lo",
		"ls -d /etc/ssl/private /etc/pki/tls/private 2>/dev/null":                                                          "",
		"(mkdir /run/sampan/deep; rm -f /run/sampan/sandbox.sock) 2>/dev/null; ls /run/sampan":                             "root\nsandbox.sock",
		"echo kept > kept; cat kept":                                                                                       "kept",
	} {
		if got := run(command); got != want {
			t.Errorf("%s\ngave %q, want %q", command, got, want)
		}
	}
	if got, err := os.ReadFile(filepath.Join(workspace, "kept")); string(got) != "kept\n" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestConfinedCommandSeesNoTests(t *testing.T) {
	run, _ := enter(t, Spec{Empty: []string{"/logs"}, Env: []string{ConfineEnv + "=" + Confiner(), "GREETING=hi", "EXPECTED=answer", HiddenEnv + "=EXPECTED"}})
	for command, want := range map[string]string{
		"$SAMPAN_CONFINE cat":                                                                      "",
		"echo in | $SAMPAN_CONFINE cat":                                                            "in",
		"$SAMPAN_CONFINE sh -c 'exit 7'; echo $?":                                                  "7",
		"$SAMPAN_CONFINE sh -c 'ls /tests /logs /tmp'":                                             "/logs:\n\n/tests:\n\n/tmp:",
		"$SAMPAN_CONFINE sh -c 'echo 1 > /logs/reward' 2>/dev/null; ls /logs":                      "",
		"$SAMPAN_CONFINE unshare -Ur sh -c 'umount /tests; cat /tests/test.sh' 2>/dev/null":        "",
		"$SAMPAN_CONFINE sh -c 'kill -9 -1; kill -9 '$$ 2>/dev/null; echo alive":                   "alive",
		"$SAMPAN_CONFINE sh -c 'sleep 1000 & echo started'; cat /proc/[0-9]*/comm | grep -c sleep": "started\n0",
		"$SAMPAN_CONFINE sh -c 'echo made > made'; cat made":                                       "made",
		"cd /tests && $SAMPAN_CONFINE cat test.sh 2>/dev/null":                                     "",
		"for d in /var/tmp /dev/shm ~; do echo tests > $d/note; done; $SAMPAN_CONFINE sh -c 'cat /var/tmp/note /dev/shm/note /home/agent/note; ls /run/sampan' 2>/dev/null": "",
		"$SAMPAN_CONFINE sh -c 'echo $EXPECTED'":                                         "",
		"$SAMPAN_CONFINE sh -c 'echo $GREETING'":                                         "hi",
		"mkdir gone && cd gone && rmdir ../gone && $SAMPAN_CONFINE echo ran 2>/dev/null": "",
	} {
		if got := run(command); got != want {
			t.Errorf("%s\ngave %q, want %q", command, got, want)
		}
	}
}
