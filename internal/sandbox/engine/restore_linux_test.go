package engine

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sampan-dev/sampan/internal/harness/tool"
)

func listing(t *testing.T, e *Engine) string {
	t.Helper()
	res, err := e.Exec(t.Context(), tool.ExecRequest{Shell: "find . -path './.sampan' -prune -o -type f -printf '%P ' -exec cat {} + | sort; ls -A .sampan | grep -v -e output -e gitignore || true"})
	if err != nil {
		t.Fatal(err)
	}
	return string(res.Stdout)
}

func put(t *testing.T, e *Engine, name, content string) {
	t.Helper()
	if _, err := e.WriteFile(t.Context(), name, []byte(content), tool.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// archiveOf is a backup of some files.
func archiveOf(t *testing.T, names ...string) *bytes.Reader {
	t.Helper()
	e := openEngine(t, Options{})
	for _, n := range names {
		put(t, e, n, "new "+n+"\n")
	}
	var out bytes.Buffer
	if _, err := e.Backup(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(out.Bytes())
}

// TestRestoreRollsBack: where one name cannot be moved, all are moved back.
func TestRestoreRollsBack(t *testing.T) {
	e := openEngine(t, Options{})
	for _, n := range []string{"a", "b/c", "m/x"} {
		put(t, e, n, "old "+n+"\n")
	}
	mount := filepath.Join(e.Workspace(), "m")
	if err := syscall.Mount("none", mount, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("cannot mount anything here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(mount, 0) })
	put(t, e, "m/y", "old\n")
	before := listing(t, e)
	s, err := e.Stage(t.Context(), archiveOf(t, "a", "z"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Stage(t.Context(), archiveOf(t, "a")); !errors.Is(err, tool.ErrTooMany) {
		t.Errorf("a second restore: %v", err)
	}
	if err := s.Commit(t.Context()); err == nil {
		t.Error("a mount was moved")
	}
	s.Close()
	if after := listing(t, e); after != before {
		t.Errorf("after a restore that failed:\n%s\nwant:\n%s", after, before)
	}
}

// TestRestoreIsRecovered: a server that is killed while it replaces a workspace leaves
// it to the next one, which puts the old content back, wherever that was.
func TestRestoreIsRecovered(t *testing.T) {
	for step := range 7 {
		dir := t.TempDir()
		e, err := New(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		put(t, e, "a", "old\n")
		put(t, e, "b/c", "old\n")
		before := listing(t, e)
		if _, err := e.Stage(t.Context(), archiveOf(t, "a", "z")); err != nil {
			t.Fatal(err)
		}
		// As replace does it, up to a step.
		at := func(name string) string { return filepath.Join(dir, name) }
		for _, do := range []func() error{
			func() error { return os.Mkdir(at(oldDir), 0o700) },
			func() error { return os.Rename(at("a"), at(oldDir+"/a")) },
			func() error { return os.Rename(at("b"), at(oldDir+"/b")) },
			func() error { return os.WriteFile(at(movedOut), nil, 0o600) },
			func() error { return os.Rename(at(newDir+"/a"), at("a")) },
			func() error { return os.Rename(at(newDir+"/z"), at("z")) },
		}[:step] {
			if err := do(); err != nil {
				t.Fatal(err)
			}
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		next, err := New(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		after := listing(t, next)
		if step == 0 {
			after = strings.Replace(after, "replace\n", "", 1) // nothing was moved: the next restore removes it
		}
		if after != before {
			t.Errorf("after step %d:\n%s\nwant:\n%s", step, after, before)
		}
		if err := next.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRestoreOverLinks: what tools put in the place of our folder leads nowhere.
func TestRestoreOverLinks(t *testing.T) {
	e := openEngine(t, Options{})
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "kept"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	put(t, e, "d/f", "old\n")
	for _, target := range []string{outside, "d"} {
		own := filepath.Join(e.Workspace(), ".sampan")
		if err := errors.Join(os.RemoveAll(own), os.Symlink(target, own)); err != nil {
			t.Fatal(err)
		}
		s, err := e.Stage(t.Context(), archiveOf(t, "a"))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(t.Context()); err != nil {
			t.Error(err)
		}
		s.Close()
		if got := listing(t, e); !strings.Contains(got, "new a\n") || strings.Contains(got, "old") {
			t.Errorf("restored:\n%s", got)
		}
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) != 1 {
		t.Errorf("outside: %v, %v", left, err)
	}
	// And none that they put there while it is read.
	s, err := e.Stage(t.Context(), archiveOf(t, "b"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	own := filepath.Join(e.Workspace(), ".sampan")
	if err := errors.Join(os.Rename(own, own+".moved"), os.Symlink(".sampan.moved", own)); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(t.Context()); !errors.Is(err, tool.ErrPreconditionFailed) {
		t.Errorf("through a link: %v", err)
	}
}
