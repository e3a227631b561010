package recorded

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/testing/recorders"
)

// A Sandbox's workspace goes from pod to pod, with what the pods before have changed, and
// an earlier pod cannot change it any more.
func TestABenchGoesFromPodToPod(t *testing.T) {
	writers := recorders.Memory(t)
	at := func() Folders { return Folders{Workspace: t.TempDir(), Home: t.TempDir()} }
	open := func(n int32, of Folders) (*Bench, *record.Checkpoint) {
		t.Helper()
		told := &record.Checkpoint{}
		b, err := OpenBench(t.Context(), writers(n), of, "box", func(c record.Checkpoint, _ string) { *told = c })
		if err != nil {
			t.Fatal(err)
		}
		return b, told
	}
	one := at()
	first, told := open(1, one)
	if restored, err := first.Restore(t.Context()); restored || err != nil {
		t.Errorf("without a checkpoint: %t, %v", restored, err)
	}
	put(t, one.Workspace, "a", "d/b")
	put(t, one.Home, "noted")
	for range 2 {
		if err := first.Take(t.Context(), theBase); err != nil {
			t.Fatal(err)
		}
	}
	if told.Turn != 2 || told.Files != 2 || told.Home == nil {
		t.Errorf("it is told of %+v", told)
	}

	two := at()
	second, told := open(2, two)
	if told.Turn != 2 {
		t.Errorf("the second pod is told of %+v", told)
	}
	if restored, err := second.Restore(t.Context()); !restored || err != nil {
		t.Fatalf("with a checkpoint: %t, %v", restored, err)
	}
	if !has(t, two.Workspace, "a") || !has(t, two.Workspace, "d/b") || !has(t, two.Home, "noted") || second.Base() != theBase {
		t.Errorf("the second pod has less than the first, of commit %q", second.Base())
	}
	if err := first.Take(t.Context(), theBase); !errors.Is(err, record.ErrFenced) {
		t.Errorf("the first pod still writes: %v", err)
	}
	if err := os.Remove(filepath.Join(two.Workspace, "a")); err != nil {
		t.Fatal(err)
	}
	put(t, two.Workspace, "c")
	if err := second.Take(t.Context(), theBase); err != nil {
		t.Fatal(err)
	}

	three := at()
	third, _ := open(3, three)
	put(t, three.Workspace, "in the way")
	if _, err := third.Restore(t.Context()); err == nil || has(t, three.Workspace, "c") {
		t.Errorf("a workspace that is not empty is written to: %v", err)
	}
	four := at()
	fourth, _ := open(4, four)
	if _, err := fourth.Restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	if has(t, four.Workspace, "a") || !has(t, four.Workspace, "c") {
		t.Error("the last pod has what the second had removed, or lacks what that had added")
	}
}
