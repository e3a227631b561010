package recorded

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/record"
)

func (p pod) keeper(j *Journal) *Keeper {
	return j.Keeper(Folders{Workspace: p.dir}, func() string { return theBase })
}

// What is handed over is what the agent's own commands have passed in, also where the
// times of a file hide that it has changed.
func TestSealSeesWhatTimesHide(t *testing.T) {
	a := newPod(t, memory(t), "pod-a")
	j, _ := ownJournal(t, noLog{a.resume("x").rec})
	put(t, a.dir, "f")
	mapped := writable(t, filepath.Join(a.dir, "f"))
	mapped[0] = 'A' // the first write is what the kernel notes
	k := a.keeper(j)
	k.snap.Now = func() time.Time { return time.Now().Add(time.Hour) }
	before := seal(t, k, 1)
	mapped[0] = 'B'
	if after := seal(t, k, 2); after == before {
		t.Error("the workspace that was sealed is that of an earlier turn")
	}
}

// What was too large on the way, and is not at the end, is handed over.
func TestSealAfterTooLarge(t *testing.T) {
	a := newPod(t, memory(t), "pod-a")
	j, told := ownJournal(t, noLog{a.resume("x").rec})
	put(t, a.dir, "large")
	large := filepath.Join(a.dir, "large")
	if err := os.Truncate(large, maxKeptBytes+1); err != nil {
		t.Fatal(err)
	}
	k := a.keeper(j)
	for range 2 {
		k.Begin(1, harness.TranscriptSummary{})
		if err := k.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(*told) != 1 {
		t.Fatalf("told %q", *told)
	}
	if err := os.Remove(large); err != nil {
		t.Fatal(err)
	}
	seal(t, k, 2)
}

func seal(t *testing.T, k *Keeper, turn int) string {
	t.Helper()
	digest, why, err := k.Seal(t.Context(), turn, harness.TranscriptSummary{})
	if digest == "" || why != "" || err != nil {
		t.Fatalf("sealed as %q, %q, %v", digest, why, err)
	}
	return digest
}

// writable maps a file, for writes that no call to the kernel tells of.
func writable(t *testing.T, path string) []byte {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	mapped, err := unix.Mmap(int(f.Fd()), 0, 1, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(mapped) })
	return mapped
}

// noLog takes checkpoints of a run that has recorded nothing else.
type noLog struct{ record.Recorder }

func (noLog) Commit(context.Context, record.Checkpoint) error { return nil }
