package local

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// all gives the names of all that is in a folder.
func (d desk) all() (names []string) {
	d.t.Helper()
	err := filepath.WalkDir(filepath.Dir(d.dir), func(path string, _ fs.DirEntry, err error) error {
		names = append(names, path)
		return err
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return names
}

func TestRecordInTheWorkspaceIsRefused(t *testing.T) {
	for name, dir := range map[string]string{"the same": "ws", "below it": "ws/a/record", "by another name": "other/record", "unmade": "new/record"} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			l := d.runner("fix", "")
			l.RecordDir = d.path(dir)
			if name == "unmade" {
				l.Workspace = d.path("new")
			} else if err := os.Mkdir(l.Workspace, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("ws", d.path("other")); err != nil {
				t.Fatal(err)
			}
			before := d.all()
			if err := d.refuses(l); err == nil || !strings.Contains(err.Error(), "is in the workspace") {
				t.Errorf("got %v", err)
			}
			if after := d.all(); !slices.Equal(after, before) {
				t.Errorf("it has made something: %v", after)
			}
		})
	}
}

func TestTaskWithoutANameForARecordIsRefused(t *testing.T) {
	for _, name := range []string{"a.b", "../../x", "a_b"} {
		d := newDesk(t)
		l := d.runner(name, "")
		before := d.all()
		if err := d.refuses(l); err == nil || !strings.Contains(err.Error(), "metadata.name") {
			t.Errorf("%s: %v", name, err)
		}
		if after := d.all(); !slices.Equal(after, before) {
			t.Errorf("%s: it has made something: %v", name, after)
		}
	}
}

func TestRecordInAFolderOfAnyName(t *testing.T) {
	d := newDesk(t)
	l := d.runner("fix", "")
	for _, name := range []string{"rec#1", "rec?x=1", "rec%20y", "rec d", "rec-é"} {
		l.RecordDir = d.path(name)
		d.completes(l)
		if entries, err := os.ReadDir(filepath.Join(l.RecordDir, "tasks", "local", "fix", "log")); err != nil || len(entries) == 0 {
			t.Errorf("%s has no record: %v", name, err)
		}
		if err := os.RemoveAll(l.Workspace); err != nil {
			t.Fatal(err)
		}
	}
}
