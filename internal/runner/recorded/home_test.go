package recorded

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/testing/recorders"
)

// ownJournal is that of a run whose record says what checkpoints were told of.
func ownJournal(t *testing.T, rec record.Recorder) (j *Journal, told *[]string) {
	told = &[]string{}
	return &Journal{ctx: t.Context(), rec: rec, kept: func(_ record.Checkpoint, message string) { *told = append(*told, message) }}, told
}

func put(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func has(t *testing.T, dir, name string) bool {
	t.Helper()
	_, err := os.Lstat(filepath.Join(dir, name))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return err == nil
}

// The home comes with the workspace, without caches and without what is the template's.
func TestTheHomeIsKeptAndRestored(t *testing.T) {
	rec := recorders.Memory(t)(1)
	log := begun(t, rec)
	at := Folders{Workspace: t.TempDir(), Home: t.TempDir(), HomeExcept: []string{"volume"}}
	put(t, at.Workspace, "work")
	put(t, at.Home, "notes/a", ".cache/big", "go/pkg/mod/m", "go/bin/tool", "volume/v")
	j, _ := ownJournal(t, rec)
	k := j.Keeper(at, func() string { return theBase })
	if err := k.take(t.Context(), 1, log); err != nil {
		t.Fatal(err)
	}
	c, err := rec.Latest(t.Context())
	if err != nil || c.Files != 1 || c.Home == nil || c.Home.Files != 2 {
		t.Fatalf("the checkpoint is %+v, %v", c, err)
	}

	to := Folders{Workspace: t.TempDir(), Home: t.TempDir(), HomeExcept: []string{"volume"}}
	put(t, to.Home, "volume/other") // its place is there before anything is restored
	j, _ = ownJournal(t, rec)
	j.latest = &c
	if _, restored, err := j.Restore(t.Context(), to, func() string { return theBase }); err != nil || !restored.Home {
		t.Fatalf("restored %+v, %v", restored, err)
	}
	for name, want := range map[string]bool{"notes/a": true, "go/bin/tool": true, ".cache": false, "go/pkg/mod": false, "volume/other": true, "volume/v": false} {
		if got := has(t, to.Home, name); got != want {
			t.Errorf("that the home has %s is %t", name, got)
		}
	}
	if !has(t, to.Workspace, "work") {
		t.Error("the workspace was not restored")
	}
	// One that is used already is not restored into, and the workspace neither.
	again := Folders{Workspace: t.TempDir(), Home: to.Home}
	if _, _, err := j.Restore(t.Context(), again, func() string { return theBase }); err == nil || has(t, again.Workspace, "work") {
		t.Errorf("into a home that has something: %v", err)
	}
	// A run on somebody's own machine leaves the home alone.
	alone := Folders{Workspace: t.TempDir()}
	if _, restored, err := j.Restore(t.Context(), alone, func() string { return theBase }); err != nil || restored.Home || !has(t, alone.Workspace, "work") {
		t.Errorf("without a home: %+v, %v", restored, err)
	}
}

// A home that is too large is left out, for as long as it is, and the workspace is kept.
func TestAHomeThatIsTooLargeIsLeftOut(t *testing.T) {
	rec := recorders.Memory(t)(1)
	log := begun(t, rec)
	at := Folders{Workspace: t.TempDir(), Home: t.TempDir()}
	put(t, at.Workspace, "work")
	put(t, at.Home, "notes", "large")
	large := filepath.Join(at.Home, "large")
	if err := os.Truncate(large, maxHomeBytes); err != nil {
		t.Fatal(err)
	}
	j, told := ownJournal(t, rec)
	k := j.Keeper(at, func() string { return theBase })
	if err := k.take(t.Context(), 1, log); err != nil {
		t.Fatal(err)
	}
	if c, err := rec.Latest(t.Context()); err != nil || c.Turn != 1 || c.Files != 1 || c.Home != nil {
		t.Errorf("with a large home: %+v, %v", c, err)
	}
	if err := os.Remove(large); err != nil {
		t.Fatal(err)
	}
	if err := k.take(t.Context(), 2, log); err != nil {
		t.Fatal(err)
	}
	if c, err := rec.Latest(t.Context()); err != nil || c.Turn != 2 || c.Home == nil || c.Home.Files != 1 {
		t.Errorf("with a small home: %+v, %v", c, err)
	}
	want := []string{"Left out: the whole home, since the files of the home have 1073741829 bytes, of which 1073741824 may be kept", ""}
	if diff := cmp.Diff(want, *told); diff != "" {
		t.Errorf("what is told (-want +got):\n%s", diff)
	}
}

func TestWhatIsLeftOutOfBothIsBounded(t *testing.T) {
	if got := strings.Join(joinLeftOut([]string{"~/s"}, []string{"t"}), ","); got != "~/s,t" {
		t.Errorf("got %s", got)
	}
	got := joinLeftOut(make([]string, 60), make([]string, 60))
	if len(got) != 100 || got[99] != "and more" {
		t.Errorf("%d names, the last is %q", len(got), got[len(got)-1])
	}
}
