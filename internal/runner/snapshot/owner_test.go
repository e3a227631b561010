package snapshot

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// asNobody is set in a test's process that is not root's.
const asNobody = "SNAPSHOT_TEST_AS_NOBODY"

// Whoever is not root meets the modes of files: what he cannot read is left out, a
// folder that is not to be written to is restored, and cleaned up after a death.
func TestModesBind(t *testing.T) {
	if os.Getuid() == 0 {
		runAsNobody(t)
		return
	}
	src, m := t.TempDir(), newMemory()
	write(t, src, map[string]string{"locked/in/file": "1", "locked/file": "2", "closed/x": "3", "secret": "4"})
	chmod(t, src, map[string]os.FileMode{"locked/in": 0o555, "locked": 0o555, "closed": 0, "secret": 0})
	t.Cleanup(func() { chmod(t, src, map[string]os.FileMode{"locked": 0o755, "locked/in": 0o755, "closed": 0o755}) })
	tree := mustTake(t, snapshotter(src), m)
	if diff := cmp.Diff([]string{"closed cannot be read", "secret cannot be read"}, tree.LeftOut); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for k := 1; ; k++ {
		dir := t.TempDir()
		s := snapshotter(dir)
		n := 0
		s.step = func() error { // one chunk, so one goroutine at a time
			if n++; n >= k {
				return errInduced
			}
			return nil
		}
		err := s.Restore(t.Context(), m, checkpoint(tree))
		if err != nil && !errors.Is(err, errInduced) {
			t.Fatalf("step %d: %v", k, err)
		}
		if err != nil {
			if err := snapshotter(dir).Restore(t.Context(), m, checkpoint(tree)); err != nil {
				t.Fatalf("after step %d: %v", k, err)
			}
		}
		got := describe(t, dir)
		if len(got) != 4 || !strings.HasPrefix(got["locked/in"], "40555 ") || !strings.HasPrefix(got["locked"], "40555 ") {
			t.Fatalf("after step %d: %v", k, got)
		}
		chmod(t, dir, map[string]os.FileMode{"locked": 0o755, "locked/in": 0o755})
		if err == nil {
			return
		}
	}
}

func chmod(t *testing.T, dir string, modes map[string]os.FileMode) {
	t.Helper()
	// The inner ones first, or last: whichever the modes of the outer ones let.
	for range 2 {
		for name, mode := range modes {
			_ = os.Chmod(filepath.Join(dir, name), mode)
		}
	}
	for name, mode := range modes {
		if info, err := os.Lstat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s has not the mode %o: %v", name, mode, err)
		}
	}
}

// runAsNobody runs the same test in a process of a user without rights.
func runAsNobody(t *testing.T) {
	t.Helper()
	if os.Getenv(asNobody) != "" {
		t.Fatal("it still is root")
	}
	tmp := t.TempDir()
	binary := filepath.Join(tmp, "test")
	data, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(binary, data, 0o755), os.Mkdir(filepath.Join(tmp, "tmp"), 0o755),
		os.Chown(filepath.Join(tmp, "tmp"), 65534, 65534), os.Chmod(filepath.Dir(tmp), 0o755)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, "-test.run", "^TestModesBind$", "-test.v")
	cmd.Dir = tmp
	cmd.Env = append(os.Environ(), asNobody+"=1", "TMPDIR="+filepath.Join(tmp, "tmp"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestModesBind") {
		t.Errorf("%v\n%s", err, out)
	}
}
