package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sampan-dev/sampan/internal/podapi"
)

// nobody is a user whom no process is of but those of the test.
const nobody = 65531

// TestKeysStayHidden: tools of a local run are processes of the same user, and find
// no model key in the environment of any of that user's processes.
func TestKeysStayHidden(t *testing.T) {
	const script = `
turns:
- toolCalls: [{name: bash, arguments: {command: "echo keys: $(cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep -c ^HIDDEN_KEY=), mine: $(cat /proc/self/environ | tr '\\0' '\\n' | grep -c ^HOME=)"}}]
- {expect: "keys: 0, mine: 1", text: Done.}
`
	p := newRunner(t, script, "verify: [{name: done, command: 'true'}]")
	registry := filepath.Join(p.dir, "registry.yaml")
	data, err := os.ReadFile(registry)
	if err != nil {
		t.Fatal(err)
	}
	with := strings.Replace(string(data), "providers:", "providers:\n  other: {type: openai, baseURL: 'http://127.0.0.1:1/v1', apiKey: {env: HIDDEN_KEY}}", 1)
	if err := os.WriteFile(registry, []byte(with+"- {id: other-model, provider: other}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.cmd.Env = append(p.cmd.Env, "HIDDEN_KEY="+modelKey, "HOME="+p.dir, "TMPDIR="+p.dir)
	if os.Getuid() == 0 {
		p.runAs(t, nobody)
	}
	p.start(t)
	if code := p.wait(t); code != 0 {
		t.Fatalf("exit code %d\n%s", code, p.stderr)
	}
}

// runAs gives the program and its folder to another user: root reads everything.
func (p *process) runAs(t *testing.T, uid int) {
	t.Helper()
	if err := os.Chmod(filepath.Dir(p.dir), 0o755); err != nil { // the folder of this test alone
		t.Fatal(err)
	}
	program := filepath.Join(p.dir, "program", "agent-runner")
	if err := os.Mkdir(filepath.Dir(program), 0o755); err != nil { // another user has to reach it
		t.Fatal(err)
	}
	data, err := os.ReadFile(p.cmd.Path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, data, 0o755); err != nil { // a program
		t.Fatal(err)
	}
	p.cmd.Path = program
	if err := filepath.WalkDir(p.dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, uid)
	}); err != nil {
		t.Fatal(err)
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
}

// TestKeysAreWiped: what the process was started with, root could read for as long
// as it runs, and so could a core file.
func TestKeysAreWiped(t *testing.T) {
	const script = `
turns:
- toolCalls: [{name: bash, arguments: {command: "tr '\\0' '\\n' < /proc/$PPID/environ | grep -c -e FIRST -e SECOND; cat /proc/$PPID/environ | tr '\\0' '\\n' | grep -c ^HIDDEN; grep core /proc/$PPID/limits; env | grep -e HIDDEN_ -e GIT_PASS"}}]
- {expect: "0\n3\nMax core file size        0 ", text: "FIRST-value-1 and THIRD-value-3"}
`
	p := newRunner(t, script, "")
	registry := filepath.Join(p.dir, "registry.yaml")
	data, err := os.ReadFile(registry)
	if err != nil {
		t.Fatal(err)
	}
	with := strings.Replace(string(data), "providers:", `providers:
  other: {type: openai, baseURL: 'http://127.0.0.1:1/v1', apiKey: {env: HIDDEN_KEY}}
  same: {type: openai, baseURL: 'http://127.0.0.1:1/v1', apiKey: {env: HIDDEN_KEY}}
  more: {type: openai, baseURL: 'http://127.0.0.1:1/v1', apiKey: {env: HIDDEN_MORE}}`, 1)
	if err := os.WriteFile(registry, []byte(with+"- {id: other-model, provider: other}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.cmd.Env = append(p.cmd.Env, "HIDDEN_KEY=FIRST-value-1", "HIDDEN_MORE=SECOND-value-2", "HIDDEN_NOT=visible", "SAMPAN_GIT_PASSWORD=THIRD-value-3")
	if os.Getuid() != 0 {
		t.Log("only root can look into the process; that nobody else can, TestKeysStayHidden shows")
		return
	}
	p.start(t)
	code := p.wait(t)
	record, err := os.ReadFile(filepath.Join(p.dir, "run.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	if code != 0 || !strings.Contains(string(record), "[redacted] and [redacted]") {
		t.Errorf("exit code %d; the record is\n%s", code, record)
	}
}

// TestPodIsProtected: a runner in a pod is not looked into either.
func TestPodIsProtected(t *testing.T) {
	t.Setenv(podapi.EnvPodName, "")
	code := 0
	cmd := runCommand(&code)
	cmd.SetContext(t.Context())
	if err := (&runFlags{inCluster: true}).run(cmd, &code); err == nil {
		t.Error("a runner ran without a pod")
	}
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil || dumpable != 0 {
		t.Errorf("dumpable is %d, %v", dumpable, err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
}
