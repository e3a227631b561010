package server_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sampan-dev/sampan/internal/harness/tool"
)

// platformUser is one as OpenShift gives it to a namespace: it has no entry in
// /etc/passwd, and owns nothing.
const platformUser = "1000670000"

// startAsPlatformUser starts a server as the first process of a container whose user
// the platform has chosen.
func startAsPlatformUser(t *testing.T, env ...string) *process {
	t.Helper()
	return startProcess(t, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Unshareflags: syscall.CLONE_NEWNS},
		append(env, userEnv+"="+platformUser)...)
}

// TestAnyUser: nothing of the server depends on who it is.
func TestAnyUser(t *testing.T) {
	p := startAsPlatformUser(t, "HOME="+openDir(t))
	for _, isolated := range []bool{false, true} {
		res, err := p.Exec(t.Context(), tool.ExecRequest{Shell: `id -u && echo a > "$HOME/a" && echo b > b && git init --quiet r && git -C r status --short`, Isolated: isolated})
		if err != nil || res.ExitCode == nil || *res.ExitCode != 0 || !strings.HasPrefix(string(res.Stdout), platformUser+"\n") {
			t.Errorf("isolated %v: %+v, %v", isolated, res, err)
		}
		if err := p.StopAll(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestIsolatedPathIsNotWritable: a folder of PATH that tools may write to, as in a
// root file system that is not read-only, has no part in a verify command.
func TestIsolatedPathIsNotWritable(t *testing.T) {
	dir, err := os.MkdirTemp("/var/lib", "sampan-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "forged"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	p := startAsPlatformUser(t, "HOME="+openDir(t), "PATH="+dir+":/usr/local/bin:/usr/bin:/bin")
	for isolated, want := range map[bool]int{false: 0, true: 127} {
		res, err := p.Exec(t.Context(), tool.ExecRequest{Shell: "forged", Isolated: isolated})
		if err != nil || res.ExitCode == nil || *res.ExitCode != want {
			t.Errorf("isolated %v: %+v, %v, want exit code %d", isolated, res, err, want)
		}
	}
}
