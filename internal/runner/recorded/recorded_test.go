package recorded

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/runner/snapshot"
	"github.com/sampan-dev/sampan/internal/testing/recorders"
	"github.com/sampan-dev/sampan/internal/transcript"
)

func TestFencing(t *testing.T) {
	writers := recorders.Memory(t)
	fenced := false
	rec := Fencing(writers(1), func() { fenced = true })
	if _, err := rec.Latest(t.Context()); !errors.Is(err, record.ErrNotFound) || fenced {
		t.Fatalf("Latest = %v, and fenced is %t", err, fenced)
	}
	if _, err := writers(2).Latest(t.Context()); !errors.Is(err, record.ErrNotFound) {
		t.Fatal(err)
	}
	if err := rec.Commit(t.Context(), record.Checkpoint{Time: time.Unix(1, 0)}); err == nil {
		t.Error("an older pod keeps a checkpoint")
	}
	if err := rec.PutOutput(t.Context(), record.Output{}); err == nil {
		t.Error("an older pod keeps an output")
	}
	if !fenced {
		t.Error("the run of a pod that lost its task goes on")
	}
}

// forgetful has lost the chunks that it says it has.
type forgetful struct {
	record.Recorder
	lost int
}

func (f *forgetful) Commit(ctx context.Context, c record.Checkpoint) error {
	if f.lost > 0 {
		f.lost--
		return record.ErrNotFound
	}
	return f.Recorder.Commit(ctx, c)
}

// theBase is the commit that was checked out.
const theBase = "0123456789abcdef0123456789abcdef01234567"

func testKeeper(t *testing.T, rec record.Recorder, maxBytes int64) (k *Keeper, dir string, told *[]string) {
	t.Helper()
	dir, told = t.TempDir(), &[]string{}
	return &Keeper{
		base: func() string { return theBase },
		ctx:  t.Context(), rec: rec, snap: &snapshot.Snapshotter{Root: dir, MaxBytes: maxBytes},
		kept: func(_ record.Checkpoint, message string) { *told = append(*told, message) },
	}, dir, told
}

// begun appends the first event, which a checkpoint comes after.
func begun(t *testing.T, rec record.Recorder) harness.TranscriptSummary {
	t.Helper()
	var lines bytes.Buffer
	w := transcript.New(transcript.Options{Tee: &lines})
	if _, err := w.Append(0, &transcript.RunStarted{Task: "t"}); err != nil {
		t.Fatal(err)
	}
	if err := w.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := rec.Append(t.Context(), 1, lines.Bytes()); err != nil {
		t.Fatal(err)
	}
	return harness.TranscriptSummary(w.Summary())
}

func TestKeeper(t *testing.T) {
	rec := recorders.Memory(t)(1)
	k, dir, told := testKeeper(t, &forgetful{Recorder: rec, lost: 1}, 100)
	log := begun(t, rec)
	write := func(name string, n int) {
		if err := os.WriteFile(filepath.Join(dir, name), bytes.Repeat([]byte("x"), n), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a", 50)
	k.Begin(1, log)
	if err := k.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.finish(harness.Progress{Turns: 1, Transcript: log}) // it is there already
	write("b", 10)
	k.finish(harness.Progress{Turns: 2, Transcript: log})
	c, err := rec.Latest(t.Context())
	if err != nil || c.Turn != 2 || c.Files != 2 || c.Bytes != 60 || c.Base != theBase {
		t.Errorf("the last checkpoint is %+v, %v", c, err)
	}
	write("c", 100)
	k.Begin(3, log)
	if err := k.Wait(t.Context()); err != nil {
		t.Errorf("a large workspace ends the run: %v", err)
	}
	k.Begin(4, log)
	want := []string{"", "", "No later checkpoint is taken: the files of the workspace have 160 bytes, of which 100 may be kept"}
	if diff := cmp.Diff(want, *told); diff != "" {
		t.Errorf("what is told (-want +got):\n%s", diff)
	}
}

func TestKeeperTellsWhatItCouldNotKeep(t *testing.T) {
	rec := recorders.Memory(t)(1)
	k, _, told := testKeeper(t, &forgetful{Recorder: rec, lost: 2}, 100)
	k.finish(harness.Progress{Transcript: begun(t, rec)})
	if len(*told) != 1 || !strings.HasPrefix((*told)[0], "No later checkpoint is taken: ") {
		t.Errorf("told %q", *told)
	}
}

func TestGraceful(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent, cancel := context.WithCancel(t.Context())
		ctx, stop := Graceful(parent, time.Second)
		defer stop()
		cancel()
		began := time.Now()
		synctest.Wait()
		if ctx.Err() != nil {
			t.Error("it ends with its parent")
		}
		<-ctx.Done()
		if took := time.Since(began); took != time.Second {
			t.Errorf("it ends after %s", took)
		}
	})
}

// hanging is a record that takes no checkpoint and no answer either.
type hanging struct{ record.Recorder }

func (hanging) Missing(ctx context.Context, _ []record.Digest) ([]record.Digest, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// A run that was told to stop while the record hangs is done after its grace: what is
// left of the pod's time is for the report.
func TestTheLastCheckpointLeavesTimeForTheReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run, stop := context.WithCancel(t.Context())
		ctx, release := Graceful(run, Grace)
		defer release()
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "a"), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		var told string
		k := &Keeper{
			base: func() string { return theBase }, ctx: ctx, rec: hanging{}, snap: &snapshot.Snapshotter{Root: dir, MaxBytes: 100},
			kept: func(_ record.Checkpoint, message string) { told = message },
		}
		stop()
		began := time.Now()
		time.Sleep(Grace / 2) //nolint:forbidigo // the clock of the test: the end was recorded meanwhile
		k.finish(harness.Progress{Turns: 1})
		if took := time.Since(began); took > Grace {
			t.Errorf("it ends %s after the stop", took)
		}
		if !strings.HasPrefix(told, "The state at the stop was not kept: ") {
			t.Errorf("told %q", told)
		}
	})
}
