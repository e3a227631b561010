package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/runner"
)

// desk is a folder with what local runs need.
type desk struct {
	t   *testing.T
	dir string
}

func newDesk(t *testing.T) desk {
	d := desk{t, t.TempDir()}
	d.write("registry.yaml", `
version: 1
default: {name: first}
providers: {scripted: {type: scripted, script: {file: script.yaml}}}
models: [{id: first, provider: scripted}, {id: other, provider: scripted}]
`)
	d.write("script.yaml", `
models:
  first:
    turns:
    - toolCalls: [{name: write_file, arguments: {path: made, content: made}}]
    - text: Done.
  other:
    turns:
    - text: It was asked for the first turn.
    - text: Done.
`)
	return d
}

// write writes a file, with its folders, and gives its path.
func (d desk) write(name, text string) string {
	d.t.Helper()
	path := filepath.Join(d.dir, name)
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = os.WriteFile(path, []byte(text), 0o600)
	}
	if err != nil {
		d.t.Fatal(err)
	}
	return path
}

func (d desk) path(name string) string { return filepath.Join(d.dir, name) }

// runner runs a task that the manifest has some more of in its spec.
func (d desk) runner(task, spec string) Runner {
	manifest := fmt.Sprintf("apiVersion: sampan.dev/v1alpha1\nkind: AgentTask\nmetadata: {name: %q}\nspec:\n  prompt: Do it.\n%s", task, spec)
	return Runner{
		TaskFile: d.write("task.yaml", manifest), RegistryFile: d.path("registry.yaml"), Workspace: d.path("ws"), RecordDir: d.path("record"),
	}
}

func (d desk) completes(l Runner) {
	d.t.Helper()
	if res, _, err := l.Run(d.t.Context()); err != nil || res.Reason != harness.Completed {
		d.t.Fatalf("%+v, %v", res, err)
	}
}

func (d desk) refuses(l Runner) error {
	d.t.Helper()
	res, _, err := l.Run(d.t.Context())
	if !errors.As(err, new(*runner.UsageError)) {
		d.t.Errorf("%+v, %v", res, err)
	}
	return err
}

// What lies in a folder is no proof that a restore has left it there.
func TestFolderThatLooksLikeARestoreIsLeftAlone(t *testing.T) {
	for name, recorded := range map[string]string{"without a checkpoint": "other", "with a checkpoint": "fix"} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			d.completes(d.runner(recorded, ""))
			mine := d.write("mine/file", "mine")
			d.write("mine/.sampan-restore/x", "")
			l := d.runner("fix", "")
			l.Workspace = d.path("mine")
			if err := d.refuses(l); err != nil && !strings.Contains(err.Error(), ".sampan-restore") {
				t.Error(err)
			}
			if got, err := os.ReadFile(mine); string(got) != "mine" {
				t.Errorf("the file has %q: %v", got, err)
			}
		})
	}
}

func TestRepositoryIsNotCheckedOutOverARestore(t *testing.T) {
	d := newDesk(t)
	mine := d.write("ws/file", "mine")
	d.write("ws/.sampan-restore/x", "")
	l := d.runner("fix", "  sandbox: {template: {workspace: {git: {url: \"https://127.0.0.1:1/none.git\"}}}}\n")
	l.RecordDir, l.TranscriptFile = "", d.path("transcript.jsonl")
	d.completes(l)
	if got, err := os.ReadFile(mine); string(got) != "mine" {
		t.Errorf("the file has %q: %v", got, err)
	}
}

// A restore whose process died is made again, once it is on record that it was one.
func TestUnfinishedRestoreIsMadeAgain(t *testing.T) {
	d := newDesk(t)
	d.completes(d.runner("fix", ""))
	ws := d.path("ws")
	if err := os.RemoveAll(ws); err != nil {
		t.Fatal(err)
	}
	part := d.write("ws/part", "of it")
	d.write("ws/.sampan-restore/x", "")
	l := d.runner("fix", "")
	if err := l.restoreNote("fix").write(ws); err != nil {
		t.Fatal(err)
	}
	d.completes(l)
	if _, err := os.Stat(part); !os.IsNotExist(err) {
		t.Errorf("what the dead process has left: %v", err)
	}
	if got, err := os.ReadFile(filepath.Join(ws, "made")); string(got) != "made" {
		t.Errorf("the restored file has %q: %v", got, err)
	}
	// The note is of that restore alone.
	d.write("ws/.sampan-restore/x", "")
	if err := d.refuses(l); err != nil && !strings.Contains(err.Error(), ".sampan-restore") {
		t.Error(err)
	}
}

// diesAtOnce leaves of the record of a task what a process leaves that was killed right after
// it had begun, and before its first checkpoint.
func (d desk) diesAtOnce(task string) {
	d.t.Helper()
	dir := d.path(filepath.Join("record", "tasks", "local", task))
	segments, err := os.ReadDir(filepath.Join(dir, "log"))
	if err != nil || len(segments) < 2 {
		d.t.Fatalf("the record has %v: %v", segments, err)
	}
	for _, s := range segments[1:] {
		err = errors.Join(err, os.Remove(filepath.Join(dir, "log", s.Name())))
	}
	if err := errors.Join(err, os.RemoveAll(filepath.Join(dir, "checkpoints"))); err != nil {
		d.t.Fatal(err)
	}
}

// A fork that died before its first checkpoint goes on by the same command.
func TestForkGoesOnBeforeItsFirstCheckpoint(t *testing.T) {
	d := newDesk(t)
	d.completes(d.runner("fix", ""))
	fork := d.runner("again", "  model: {name: other}\n")
	fork.Workspace, fork.From = d.path("fork"), "fix@1"
	d.completes(fork)
	d.diesAtOnce("again")
	d.completes(fork)

	// What it goes on from is on record by now, and the workspace may be gone.
	d.diesAtOnce("again")
	if err := os.RemoveAll(fork.Workspace); err != nil {
		t.Fatal(err)
	}
	fork.From = ""
	d.completes(fork)
	if got, err := os.ReadFile(filepath.Join(fork.Workspace, "made")); string(got) != "made" {
		t.Errorf("the file of the other task has %q: %v", got, err)
	}
}
