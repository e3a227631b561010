package outputs

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/runner/workspace"
	"github.com/sampan-dev/sampan/internal/testing/gitserver"
)

var (
	theTask = record.Task{Namespace: "team", UID: "uid"}
	theEnd  = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

// scene is a workspace with a checkout, and a record.
type scene struct {
	t         *testing.T
	server    *gitserver.Server
	store     *record.Store
	workspace string
	keep      string
	repo      workspace.Repository
	writer    record.Writer
}

func newScene(t *testing.T, files map[string]string) *scene {
	t.Helper()
	return sceneOf(t, gitserver.New(t, files))
}

// sceneOf is a checkout of what a server has.
func sceneOf(t *testing.T, server *gitserver.Server) *scene {
	t.Helper()
	s := &scene{t: t, server: server, workspace: t.TempDir()}
	s.checkout(0)
	return s
}

// checkout makes the workspace, and a record.
func (s *scene) checkout(depth int32) {
	t := s.t
	t.Helper()
	s.keep = filepath.Join(t.TempDir(), "repository.git")
	s.repo = workspace.Repository{GitSource: v1alpha1.GitSource{URL: s.server.Repo(), Depth: depth}, User: gitserver.User, Password: gitserver.Password, Keep: s.keep}
	if err := workspace.CheckoutBeside(t.Context(), s.repo, filepath.Join(t.TempDir(), "private"), s.workspace); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.store, err = record.Open(t.Context(), "mem://"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.store.Close() })
}

// served says who writes, as the server of the record does.
type served struct {
	record.Recorder
	w record.Writer
}

func (s served) PutOutput(ctx context.Context, o record.Output) error {
	o.Writer = s.w
	return s.Recorder.PutOutput(ctx, o)
}

func (s *scene) taker(attempt int32) *Taker {
	s.t.Helper()
	w := record.Writer{Attempt: attempt, PodUID: fmt.Sprintf("pod-%d", attempt)}
	last, err := s.store.LastEvent(s.t.Context(), theTask)
	if err == nil && w != s.writer { // its first event claims the record
		s.writer = w
		err = s.store.Recorder(theTask, w).Append(s.t.Context(), last+1, fmt.Appendf(nil, "{\"seq\":%d}\n", last+1))
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return &Taker{
		Workspace: s.workspace, Task: "fix", Namespace: "team", Attempt: attempt, Proven: true, End: theEnd,
		Store: InRecord{served{s.store.Recorder(theTask, w), w}},
		Room: func(ctx context.Context) (*workspace.Room, error) {
			return workspace.OpenRoom(ctx, s.keep, s.repo, s.server.Commit)
		},
		Push: func(int) (string, string) { return gitserver.User, gitserver.Password },
	}
}

func (s *scene) write(name, content string) {
	s.t.Helper()
	path := filepath.Join(s.workspace, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) symlink(target, name string) {
	s.t.Helper()
	if err := os.Symlink(target, filepath.Join(s.workspace, name)); err != nil {
		s.t.Fatal(err)
	}
}

// take takes one output.
func (s *scene) take(tk *Taker, o v1alpha1.Output) v1alpha1.OutputStatus {
	s.t.Helper()
	return tk.Take(s.t.Context(), []v1alpha1.Output{o})[0]
}

func (s *scene) content(name string) string {
	s.t.Helper()
	_, r, err := s.store.OutputContent(s.t.Context(), theTask, name)
	if err != nil {
		s.t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(data)
}

var patchOutput = v1alpha1.Output{Name: "change", Patch: &v1alpha1.PatchOutput{}}

// applied gives the files of a fresh checkout that the patch was applied to.
func (s *scene) applied() string {
	s.t.Helper()
	dir := s.t.TempDir()
	gitserver.Git(s.t, dir, "clone", "--quiet", s.server.Dir, ".")
	patch := filepath.Join(s.t.TempDir(), "p")
	if err := os.WriteFile(patch, []byte(s.content("change")), 0o644); err != nil {
		s.t.Fatal(err)
	}
	gitserver.Git(s.t, dir, "apply", "--index", patch)
	return dir
}

// TestPatch: a patch gives from the commit what is in the workspace, but for what git
// ignores.
func TestPatch(t *testing.T) {
	s := newScene(t, map[string]string{
		"same": "same\n", "changed": "one\ntwo\n", "gone": "gone\n", ".gitignore": "*.log\nbuild/\n!keep.log\n", "build/tracked": "1\n", "kind": "file\n",
	})
	s.write("changed", "one\n2\n")
	s.write("new folder/ünï \"quoted\"\n", "new\n")
	s.write("binary", "\x00\x01\xff"+strings.Repeat("x", 4096))
	s.write("x.log", "ignored")
	s.write("keep.log", "kept")
	s.write("build/tracked", "2\n")
	s.write("build/untracked", "ignored")
	s.write("sub/.gitignore", "deep\n")
	s.write("sub/deep", "ignored")
	s.write("--upload-pack=touch x", "a file named like an option\n")
	for _, name := range []string{"gone", "kind"} {
		if err := os.Remove(filepath.Join(s.workspace, name)); err != nil {
			t.Fatal(err)
		}
	}
	s.symlink("changed", "kind")
	s.write("tool", "#!/bin/sh\n")
	if err := os.Chmod(filepath.Join(s.workspace, "tool"), 0o755); err != nil {
		t.Fatal(err)
	}
	st := s.take(s.taker(1), patchOutput)
	if st.Message != "" || st.MediaType != typePatch || st.Proof != v1alpha1.OutputProven || st.Attempt != 1 {
		t.Fatalf("status is %+v", st)
	}
	if got := s.content("change"); int64(len(got)) != *st.Size || string(record.DigestOf([]byte(got))) != st.Digest {
		t.Errorf("status has %d bytes, %s", *st.Size, st.Digest)
	}
	dir := s.applied()
	got := gitserver.Git(t, dir, "-c", "core.quotePath=true", "status", "--porcelain", "--untracked-files=all")
	want := strings.Join([]string{
		`A  "--upload-pack=touch x"`, `A  binary`, `M  build/tracked`, `M  changed`, `D  gone`, `A  keep.log`, `T  kind`,
		`A  "new folder/\303\274n\303\257 \"quoted\"\n"`, `A  sub/.gitignore`, `A  tool`,
	}, "\n")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what the patch changes (-want +got):\n%s", diff)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "binary")); err != nil || len(data) != 4099 {
		t.Errorf("the binary file has %d bytes: %v", len(data), err)
	}
	if info, err := os.Stat(filepath.Join(dir, "tool")); err != nil || info.Mode()&0o100 == 0 {
		t.Errorf("the program cannot be run: %v", err)
	}
}

// TestHostileRepository: nothing that an agent lays out for git has an effect.
func TestHostileRepository(t *testing.T) {
	s := newScene(t, map[string]string{"file": "one\n", ".gitmodules": ""})
	ran := filepath.Join(t.TempDir(), "ran")
	program := "touch " + ran
	gitserver.Git(t, s.workspace, "config", "core.fsmonitor", program)
	gitserver.Git(t, s.workspace, "config", "filter.evil.clean", program)
	gitserver.Git(t, s.workspace, "config", "filter.evil.process", program)
	gitserver.Git(t, s.workspace, "config", "diff.evil.textconv", program)
	gitserver.Git(t, s.workspace, "config", "diff.evil.command", program)
	gitserver.Git(t, s.workspace, "config", "diff.external", program)
	gitserver.Git(t, s.workspace, "config", "credential.helper", "!"+program)
	for _, hook := range []string{"pre-commit", "post-commit", "pre-push", "reference-transaction", "post-index-change", "post-checkout"} {
		if err := os.WriteFile(filepath.Join(s.workspace, ".git/hooks", hook), []byte("#!/bin/sh\n"+program+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.write(".gitattributes", "* filter=evil diff=evil\nfile -text eol=crlf working-tree-encoding=UTF-16\n")
	s.write(".gitmodules", "[submodule \"x\"]\n\tpath = x\n\turl = ext::sh -c '"+program+"'\n\tupdate = !"+program+"\n")
	s.write("file", "two\r\n")
	s.write("nested/.git/config", "[core]\n\tfsmonitor = "+program+"\n")
	s.write("nested/inside", "nested\n")
	s.write("other/.GIT/config", "x")
	s.write("worktree/.git", "gitdir: /elsewhere\n")
	s.write("worktree/inside", "tree\n")
	branch := v1alpha1.Output{Name: "fix", Branch: v1alpha1.BranchOutput{Ref: "sampan/{{task}}"}}
	res := s.taker(1).Take(t.Context(), []v1alpha1.Output{patchOutput, branch})
	if _, err := os.Stat(ran); !errors.Is(err, os.ErrNotExist) {
		t.Fatal("a program of the workspace was run")
	}
	for _, st := range res {
		if st.Digest == "" || !strings.Contains(st.Message, "nested/.git belongs to a repository of its own") {
			t.Errorf("status is %+v", st)
		}
	}
	dir := s.applied()
	if data, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(data) != "two\r\n" {
		t.Errorf("file is %q: %v", data, err)
	}
	got := gitserver.Git(t, s.server.Dir, "ls-tree", "-r", "--name-only", "sampan/fix")
	if diff := cmp.Diff(".gitattributes\n.gitmodules\nfile\nnested/inside\nworktree/inside", got); diff != "" {
		t.Errorf("the branch has (-want +got):\n%s", diff)
	}
	if got := gitserver.Git(t, s.server.Dir, "cat-file", "blob", "sampan/fix:file"); got != "two" {
		t.Errorf("the branch's file is %q", got)
	}
}

// TestLinks: no link of the workspace is followed.
func TestLinks(t *testing.T) {
	s := newScene(t, map[string]string{"dir/file": "one\n"})
	secret := t.TempDir()
	if err := os.WriteFile(filepath.Join(secret, "token"), []byte("SECRET"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.symlink(secret, "out")
	s.symlink(filepath.Join(secret, "token"), "report")
	if err := os.RemoveAll(filepath.Join(s.workspace, "dir")); err != nil {
		t.Fatal(err)
	}
	s.symlink(secret, "dir")
	s.write("folder/plain", "plain")
	s.symlink("../../../../etc", "folder/link")
	s.symlink(filepath.Join(secret, "token"), ".gitignore")
	for name, want := range map[string]string{"out/token": "is not followed", "report": "is not followed", "out": "is not followed", "dir/token": "is not followed"} {
		if st := s.take(s.taker(1), v1alpha1.Output{Name: "o", Path: name}); !strings.Contains(st.Message, want) || st.Digest != "" {
			t.Errorf("%s: status is %+v", name, st)
		}
	}
	if st := s.take(s.taker(1), patchOutput); st.Message != "" {
		t.Errorf("status is %+v", st)
	}
	if strings.Contains(s.content("change"), "SECRET") {
		t.Error("the patch has what is outside of the workspace")
	}
	if target, err := os.Readlink(filepath.Join(s.applied(), "dir")); err != nil || target != secret {
		t.Errorf("the link leads to %q: %v", target, err)
	}
	if st := s.take(s.taker(1), v1alpha1.Output{Name: "o", Path: "folder"}); st.MediaType != typeTar {
		t.Fatalf("status is %+v", st)
	}
	var names []string
	for r := tar.NewReader(strings.NewReader(s.content("o"))); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, fmt.Sprintf("%c %s %s %d", h.Typeflag, h.Name, h.Linkname, h.Uid))
	}
	if diff := cmp.Diff([]string{"2 link ../../../../etc 0", "0 plain  0"}, names); diff != "" {
		t.Errorf("the archive (-want +got):\n%s", diff)
	}
}

// TestSubmodule: a submodule stays at its commit, whatever is in its folder, and one whose
// folder is gone is removed.
func TestSubmodule(t *testing.T) {
	server := gitserver.New(t, map[string]string{"file": "one\n"})
	work := t.TempDir()
	gitserver.Git(t, work, "clone", "--quiet", server.Dir, ".")
	for _, name := range []string{"kept", "gone"} {
		gitserver.Git(t, work, "update-index", "--add", "--cacheinfo", "160000,"+server.Commit+","+name)
	}
	gitserver.Git(t, work, "commit", "--quiet", "-m", "submodules")
	gitserver.Git(t, work, "push", "--quiet", "origin", "HEAD:main")
	server.Commit = gitserver.Git(t, work, "rev-parse", "HEAD")
	s := sceneOf(t, server)
	s.write("kept/.git/config", "[core]\n")
	s.write("kept/file", "another repository's")
	s.write("file", "two\n")
	if err := os.Remove(filepath.Join(s.workspace, "gone")); err != nil {
		t.Fatal(err)
	}
	if st := s.take(s.taker(1), branchOutput("fix")); st.Message != "" {
		t.Errorf("status is %+v", st)
	}
	want := "M file\nD gone"
	if got := strings.ReplaceAll(gitserver.Git(t, server.Dir, "diff", "--name-status", "main", "fix"), "\t", " "); got != want {
		t.Errorf("the branch changes %q, want %q", got, want)
	}
}

// TestLineEnds: what a checkout has changed by the repository's own attributes is no
// change of the agent.
func TestLineEnds(t *testing.T) {
	s := newScene(t, map[string]string{
		".gitattributes": "*.bat text eol=crlf\n", "same.bat": "one\ntwo\n", "changed.bat": "one\ntwo\n", "plain": "one\n", "sub/.gitattributes": "*.txt eol=crlf\n", "sub/x.txt": "x\n",
	})
	if data, err := os.ReadFile(filepath.Join(s.workspace, "same.bat")); err != nil || string(data) != "one\r\ntwo\r\n" {
		t.Fatalf("the checkout has %q: %v", data, err)
	}
	s.write("changed.bat", "one\r\n2\r\n")
	if st := s.take(s.taker(1), patchOutput); st.Message != "" {
		t.Fatalf("status is %+v", st)
	}
	if got := s.content("change"); strings.Count(got, "diff --git") != 1 || !strings.Contains(got, " one\n-two\n+2\n") {
		t.Errorf("the patch is\n%s", got)
	}
}

// TestShallow: a checkout without history is enough.
func TestShallow(t *testing.T) {
	server := gitserver.New(t, map[string]string{"file": "one\n"})
	work := t.TempDir()
	gitserver.Git(t, work, "clone", "--quiet", server.Dir, ".")
	gitserver.Git(t, work, "commit", "--quiet", "--allow-empty", "-m", "second")
	gitserver.Git(t, work, "push", "--quiet", "origin", "HEAD:main")
	first := server.Commit
	server.Commit = gitserver.Git(t, work, "rev-parse", "HEAD")
	s := &scene{t: t, server: server, workspace: t.TempDir()}
	s.checkout(1)
	s.write("file", "two\n")
	for attempt, keep := range []string{s.keep, filepath.Join(t.TempDir(), "none")} {
		s.keep = keep
		if st := s.take(s.taker(int32(attempt+1)), branchOutput("fix")); st.Message != "" || s.head("fix") != st.Commit {
			t.Errorf("status is %+v", st)
		}
	}
	if got := gitserver.Git(t, server.Dir, "rev-parse", "fix~2"); got != first {
		t.Errorf("the branch begins at %s", got)
	}
}

// TestSpecialFiles: what is no file is neither opened nor waited for.
func TestSpecialFiles(t *testing.T) {
	s := newScene(t, map[string]string{"file": "one\n"})
	s.write("folder/plain", "x")
	for _, name := range []string{"fifo", "folder/fifo"} {
		if err := unix.Mkfifo(filepath.Join(s.workspace, name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(s.workspace, "folder/.gitignore"), 0o644); err != nil {
		t.Fatal(err)
	}
	if st := s.take(s.taker(1), v1alpha1.Output{Name: "o", Path: "fifo"}); !strings.Contains(st.Message, "no file and no folder") {
		t.Errorf("status is %+v", st)
	}
	if st := s.take(s.taker(1), v1alpha1.Output{Name: "o", Path: "folder"}); st.Digest == "" || !strings.Contains(st.Message, "fifo is no file") {
		t.Errorf("status is %+v", st)
	}
	if st := s.take(s.taker(1), patchOutput); st.Digest == "" || !strings.Contains(st.Message, "left out: fifo is no file") {
		t.Errorf("status is %+v", st)
	}
}

// TestArchiveIsTheSame: the same files give the same bytes, whenever they were made.
func TestArchiveIsTheSame(t *testing.T) {
	s := newScene(t, map[string]string{"a/file": "one\n", "a/b/c": "two\n", "b": "three\n"})
	first := s.take(s.taker(1), v1alpha1.Output{Name: "o", Path: "a"})
	if err := os.Chtimes(filepath.Join(s.workspace, "a/file"), theEnd, theEnd); err != nil {
		t.Fatal(err)
	}
	if again := s.take(s.taker(1), v1alpha1.Output{Name: "o", Path: "a"}); again.Digest != first.Digest || first.Digest == "" {
		t.Errorf("%s, then %s", first.Digest, again.Digest)
	}
}

// closed keeps nothing: whatever is written to it is an error.
type closed struct{ Store }

func (closed) Put(_ context.Context, _ Content, write func(io.Writer) error) (Content, error) {
	return Content{}, write(closed{})
}

func (closed) Write([]byte) (int, error) { return 0, errors.New("something was read") }

// TestPath: a file is its bytes, and what cannot be taken says why.
func TestPath(t *testing.T) {
	s := newScene(t, map[string]string{"file": "one\n"})
	large := bytes.Repeat([]byte("0123456789abcdef"), (record.MaxChunk+4096)/16)
	s.write("out/report.json", string(large))
	st := s.take(s.taker(1), v1alpha1.Output{Name: "report", Path: "out/report.json"})
	if st.MediaType != "application/json" || *st.Size != int64(len(large)) || s.content("report") != string(large) {
		t.Errorf("status is %+v", st)
	}
	huge, err := os.Create(filepath.Join(s.workspace, "huge"))
	if err == nil {
		err = errors.Join(huge.Truncate(maxContent+1), huge.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"missing": "was not made", "none/missing": "was not made", "file/below": "is not followed", "huge": "has more than 1073741824 bytes",
	} {
		if st := s.take(s.taker(1), v1alpha1.Output{Name: "o", Path: name}); !strings.Contains(st.Message, want) || st.Digest != "" {
			t.Errorf("%s: status is %+v", name, st)
		}
	}
	unread := s.taker(1)
	unread.Store = closed{}
	if st := s.take(unread, v1alpha1.Output{Name: "o", Path: "huge"}); !strings.Contains(st.Message, "has more than") {
		t.Errorf("a huge file is read before it is refused: %s", st.Message)
	}
	if st := s.take(s.taker(1), patchOutput); !strings.Contains(st.Message, `"huge"`) || st.Digest != "" {
		t.Errorf("a patch with a huge file: status is %+v", st)
	}
	if err := os.Truncate(filepath.Join(s.workspace, "huge"), maxPatchBytes+1); err != nil {
		t.Fatal(err)
	}
	if st := s.take(s.taker(1), patchOutput); !strings.Contains(st.Message, `"huge" has 16777217 bytes`) || st.Digest != "" {
		t.Errorf("a patch with a large file: status is %+v", st)
	}
}

const maxPatchBytes = 16 << 20

// TestNoRecord: only branches work where there is no record.
func TestNoRecord(t *testing.T) {
	s := newScene(t, map[string]string{"file": "one\n"})
	s.write("file", "two\n")
	tk := s.taker(1)
	tk.Store = nil
	for _, o := range []v1alpha1.Output{patchOutput, {Name: "o", Path: "file"}} {
		if st := s.take(tk, o); !strings.Contains(st.Message, "sampan-record") {
			t.Errorf("status is %+v", st)
		}
	}
	st := s.take(tk, v1alpha1.Output{Name: "fix", Branch: v1alpha1.BranchOutput{Ref: "fix"}})
	if st.Commit != gitserver.Git(t, s.server.Dir, "rev-parse", "fix") || st.Ref != "fix" {
		t.Errorf("status is %+v", st)
	}
}
