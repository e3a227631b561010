package local

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/testing/gitserver"
)

// The patch of a task that goes on from another has what the workspace differs in from the
// commit that the other task has checked out.
func TestPatchOfAFork(t *testing.T) {
	server := gitserver.New(t, map[string]string{"file": "one\n"})
	t.Setenv("TMPDIR", t.TempDir())
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	registry := write("registry.yaml", `
version: 1
default: {name: first}
providers: {scripted: {type: scripted, script: {file: script.yaml}}}
models: [{id: first, provider: scripted}, {id: other, provider: scripted}]
`)
	write("script.yaml", `
models:
  first:
    turns:
    - toolCalls: [{name: write_file, arguments: {path: file, content: "two\n"}}]
    - toolCalls: [{name: write_file, arguments: {path: file, content: "three\n"}}]
    - text: Done.
  other:
    turns:
    - text: It was asked for the first turn.
    - toolCalls: [{name: write_file, arguments: {path: new, content: "new\n"}}]
    - text: Done.
`)
	run := func(name, spec, from string) string {
		t.Helper()
		// The first run takes the credentials out of the environment.
		t.Setenv(podapi.EnvGitUsername, gitserver.User)
		t.Setenv(podapi.EnvGitPassword, gitserver.Password)
		out := filepath.Join(dir, "out-"+name)
		l := Runner{
			TaskFile: write(name+".yaml", fmt.Sprintf(`
apiVersion: sampan.dev/v1alpha1
kind: AgentTask
metadata: {name: %s}
spec:
  prompt: Do it.
  sandbox: {template: {workspace: {git: {url: %q}}}}
  outputs: [{name: change, patch: {}}]
%s`, name, server.Repo(), spec)),
			RegistryFile: registry, Workspace: filepath.Join(dir, "ws-"+name), RecordDir: filepath.Join(dir, "record"), From: from, OutputDir: out,
		}
		res, _, err := l.Run(t.Context())
		if err != nil || res.Reason != harness.Completed {
			t.Fatalf("%s: %+v, %v", name, res, err)
		}
		patch, err := os.ReadFile(filepath.Join(out, "change.patch"))
		if err != nil {
			t.Fatal(err)
		}
		return string(patch)
	}
	if got := run("fix", "", ""); !strings.Contains(got, "-one\n+three\n") {
		t.Errorf("the first patch is %s", got)
	}
	got := run("again", "  model: {name: other}", "fix@1")
	if !strings.Contains(got, "-one\n+two\n") || !strings.Contains(got, "+new\n") {
		t.Errorf("the patch of the fork is %s", got)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
