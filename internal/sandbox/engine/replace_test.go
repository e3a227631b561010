package engine

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sampan-dev/sampan/internal/harness/tool"
)

// fullDisk is a file that takes only so many bytes beyond what it has.
type fullDisk struct {
	*os.File
	size int64
}

func (f *fullDisk) WriteAt(p []byte, at int64) (int, error) {
	fits := max(min(f.size-at, int64(len(p))), 0)
	n, err := f.File.WriteAt(p[:fits], at)
	if err == nil && n < len(p) {
		err = syscall.ENOSPC
	}
	return n, err
}

// A disk that fills up half-way must leave space for the old content: nothing
// is cut off before all is written.
func TestOverwriteFullDisk(t *testing.T) {
	const old = "the old content"
	for name, tc := range map[string]struct {
		content string
		room    int64
		want    string
	}{
		"longer, fits":         {"a longer content than before", 99, "a longer content than before"},
		"longer, does not fit": {"a longer content than before", 20, old},
		"shorter":              {"short", int64(len(old)), "short"},
		"empty":                {"", int64(len(old)), ""},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "f")
			if err := os.WriteFile(file, []byte(old), 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(file, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = f.Close() }()
			disk := &fullDisk{f, tc.room}
			err = overwrite(disk, strings.NewReader(tc.content), int64(len(tc.content)))
			if failed := tc.want == old; failed != errors.Is(err, syscall.ENOSPC) {
				t.Errorf("error %v", err)
			} else if failed {
				if err := overwrite(disk, strings.NewReader(old), int64(len(old))); err != nil {
					t.Errorf("restoring: %v", err)
				}
			}
			if data, _ := os.ReadFile(file); string(data) != tc.want {
				t.Errorf("the file holds %q, want %q", data, tc.want)
			}
		})
	}
}

// A content that is staged short, by whatever cause, is not taken for a whole one.
func TestOverwriteShortStage(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := overwrite(f, strings.NewReader("short"), 100); err == nil {
		t.Error("no error")
	}
}

// A file that is larger than what is kept in memory is restored from a copy beside it.
func TestOldContentOfLargeFile(t *testing.T) {
	e, err := New(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	large := strings.Repeat("0123456789abcde\n", maxOldInMemory/16+1)
	if err := os.WriteFile(filepath.Join(e.workspace, "f"), []byte(large), 0o600); err != nil {
		t.Fatal(err)
	}
	w := &write{e: e, rel: "f", dir: e.root, base: "f", staged: stage{dir: e.root, name: ".sampan-x.tmp", beside: true}}
	target, err := w.open()
	if err != nil {
		t.Fatal(err)
	}
	defer target.close()
	old, err := w.keepOld(target)
	if err != nil {
		t.Fatal(err)
	}
	if old.name == "" {
		t.Error("the copy is in memory")
	}
	if err := overwrite(target.f, strings.NewReader("new"), 3); err != nil {
		t.Fatal(err)
	}
	if err := overwrite(target.f, old, target.st.Size()); err != nil {
		t.Fatal(err)
	}
	old.discard()
	if data, _ := os.ReadFile(filepath.Join(e.workspace, "f")); string(data) != large {
		t.Errorf("%d bytes were restored of %d", len(data), len(large))
	}
	if left, _ := os.ReadDir(e.workspace); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

// What the system says in more words than "permission denied" is passed on.
func TestMapErrorTwice(t *testing.T) {
	err := mapError("f", &os.PathError{Op: "open", Path: "f", Err: syscall.ETXTBSY})
	if got := mapError("f", err); got.Error() != "f: permission denied (text file busy)" || !errors.Is(got, tool.ErrPermission) {
		t.Errorf("%v", got)
	}
}
