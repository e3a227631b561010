package workspace

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sampan-dev/sampan/api/v1alpha1"
)

// kept is a workspace on a volume, as a pod finds it.
type kept struct {
	Persistent
	t *testing.T
}

func newKept(t *testing.T) kept {
	t.Helper()
	return kept{Persistent{Dir: t.TempDir(), RecordDir: t.TempDir(), PrivateDir: filepath.Join(t.TempDir(), "checkout")}, t}
}

// start prepares it as the runner of a new pod does.
func (k kept) start(src v1alpha1.GitSource) (bool, error) {
	return k.Prepare(k.t.Context(), withLogin(src))
}

func (k kept) starts(src v1alpha1.GitSource, wantPreTool bool) {
	k.t.Helper()
	preTool, err := k.start(src)
	if err != nil {
		k.t.Fatal(err)
	}
	if preTool != wantPreTool {
		k.t.Errorf("preTool is %v", preTool)
	}
}

func (k kept) write(dir, name, text string) {
	k.t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		k.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		k.t.Fatal(err)
	}
}

func (k kept) has(name, want string) {
	k.t.Helper()
	data, err := os.ReadFile(filepath.Join(k.Dir, name))
	if err != nil {
		k.t.Fatal(err)
	}
	if string(data) != want {
		k.t.Errorf("%s has %q, want %q", name, data, want)
	}
}

func (k kept) names(dir string) []string {
	k.t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		k.t.Fatal(err)
	}
	out := []string{}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestAKeptWorkspaceIsCheckedOutOnce(t *testing.T) {
	root, commits := newOrigin(t)
	src := v1alpha1.GitSource{URL: serveGit(t, root) + "/repo.git", Ref: "v2"}
	k := newKept(t)
	k.starts(src, true)
	k.has("file", "two")
	var record checkoutRecord
	data, err := os.ReadFile(filepath.Join(k.RecordDir, checkoutFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &record); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(checkoutRecord{URL: src.URL, Ref: "v2", Commit: commits[1]}, record); diff != "" {
		t.Errorf("the record, -want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{checkoutFile}, k.names(k.RecordDir)); diff != "" {
		t.Errorf("the record's folder, -want +got:\n%s", diff)
	}

	k.write(k.Dir, "file", "changed by a tool")
	k.write(k.Dir, ".git/hooks/post-checkout", "#!/bin/sh\nfalse")
	k.starts(src, false)
	k.has("file", "changed by a tool")
	k.has(".git/hooks/post-checkout", "#!/bin/sh\nfalse")
}

// A pod that goes while it copies leaves a part. No tool has seen it.
func TestACopyThatWasCutIsMadeAgain(t *testing.T) {
	root, commits := newOrigin(t)
	src := v1alpha1.GitSource{URL: serveGit(t, root) + "/repo.git"}
	k := newKept(t)
	outside := t.TempDir()
	k.write(outside, "precious", "kept")
	k.write(k.Dir, ".git/objects/pa/rt", "half an obj")
	k.write(k.Dir, "half/a/file", "ha")
	if err := os.Symlink(outside, filepath.Join(k.Dir, "out")); err != nil {
		t.Fatal(err)
	}
	k.write(k.RecordDir, checkoutFile+".tmp", `{"url":"ha`)
	k.starts(src, true)
	if diff := cmp.Diff([]string{".git", "file"}, k.names(k.Dir)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := gitOut(t, k.Dir, "rev-parse", "HEAD"); got != commits[2] {
		t.Errorf("HEAD is %s", got)
	}
	if diff := cmp.Diff([]string{"precious"}, k.names(outside)); diff != "" {
		t.Errorf("what a link led to was emptied, -want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{checkoutFile}, k.names(k.RecordDir)); diff != "" {
		t.Errorf("the record's folder, -want +got:\n%s", diff)
	}
}

// The marker counts, not what it says: it is never a reason to throw away work.
func TestAMarkerThatIsGarbageKeepsTheWorkspace(t *testing.T) {
	for name, marker := range map[string]string{"empty": "", "torn": `{"url":"htt`, "something else": "\x00\x01"} {
		t.Run(name, func(t *testing.T) {
			k := newKept(t)
			k.write(k.Dir, "work", "of a day")
			k.write(k.RecordDir, checkoutFile, marker)
			k.starts(v1alpha1.GitSource{URL: "http://git.invalid/repo.git"}, false)
			k.has("work", "of a day")
		})
	}
}

func TestAMarkerThatCannotBeReadIsSaid(t *testing.T) {
	root, _ := newOrigin(t)
	k := newKept(t)
	k.write(k.Dir, "work", "of a day")
	k.write(filepath.Join(k.RecordDir, checkoutFile), "a folder", "")
	if _, err := k.start(v1alpha1.GitSource{URL: serveGit(t, root) + "/repo.git"}); err == nil || !strings.Contains(err.Error(), "reading the record") {
		t.Errorf("error is %v", err)
	}
	k.has("work", "of a day")
}

// A volume that was released by one Sandbox may be given to the next.
func TestAnotherSandboxesVolumeIsNotUsed(t *testing.T) {
	k := newKept(t)
	k.write(k.Dir, "work", "of a day")
	k.write(k.RecordDir, checkoutFile, `{"url":"https://git.example/old.git","ref":"main"}`)
	for name, src := range map[string]v1alpha1.GitSource{
		"another repository": {URL: "https://git.example/new.git", Ref: "main"},
		"another branch":     {URL: "https://git.example/old.git"},
		"none":               {},
	} {
		_, err := k.start(src)
		if err == nil || !strings.Contains(err.Error(), "https://git.example/old.git at main") {
			t.Errorf("%s: error is %v, want one that names what is there", name, err)
		}
	}
	k.starts(v1alpha1.GitSource{URL: "https://git.example/old.git", Ref: "main"}, false)
	k.has("work", "of a day")
}

func TestAFailedCheckoutLeavesNoMarker(t *testing.T) {
	root, _ := newOrigin(t)
	url := serveGit(t, root)
	k := newKept(t)
	if _, err := k.start(v1alpha1.GitSource{URL: url + "/repo.git", Ref: "nowhere"}); err == nil {
		t.Fatal("it did not fail")
	}
	if names := k.names(k.RecordDir); len(names) > 0 {
		t.Errorf("it is recorded: %v", names)
	}
	k.starts(v1alpha1.GitSource{URL: url + "/repo.git"}, true)
	k.has("file", "three")
}

// Without a repository there is nothing to copy and nothing to empty; that tools
// may have run is recorded all the same.
func TestAKeptWorkspaceWithoutRepository(t *testing.T) {
	k := newKept(t)
	k.write(k.Dir, "laid out", "by somebody")
	k.starts(v1alpha1.GitSource{}, true)
	k.has("laid out", "by somebody")
	k.starts(v1alpha1.GitSource{}, false)
}

// What is there before the marker is made by nobody but the runner, so a marker
// must not be there before the workspace is whole.
func TestAMarkerThatCannotBeWrittenFailsTheStart(t *testing.T) {
	root, _ := newOrigin(t)
	k := newKept(t)
	k.RecordDir = filepath.Join(k.RecordDir, "not there")
	if preTool, err := k.start(v1alpha1.GitSource{URL: serveGit(t, root) + "/repo.git"}); err == nil || preTool {
		t.Errorf("preTool is %v, error %v", preTool, err)
	}
}
