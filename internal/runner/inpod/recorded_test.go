package inpod

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/llm"
	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/runner/snapshot"
	"github.com/sampan-dev/sampan/internal/transcript"
)

var recordedTask = &v1alpha1.AgentTask{ObjectMeta: metav1.ObjectMeta{Name: "t", Namespace: "ns", UID: "u"}}

// memory is a record of one task in memory, and what its writer of an attempt sees.
func memory(t *testing.T) func(attempt int32) record.Recorder {
	t.Helper()
	store, err := record.Open(t.Context(), "mem://")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return func(attempt int32) record.Recorder {
		w := record.Writer{Attempt: attempt, PodUID: fmt.Sprintf("pod-%d", attempt)}
		return served{store.Recorder(record.Task{Namespace: "ns", UID: "u"}, w), w}
	}
}

// served says who writes, as the server of the record does.
type served struct {
	record.Recorder
	w record.Writer
}

func (s served) Commit(ctx context.Context, c record.Checkpoint) error {
	c.Writer = s.w
	return s.Recorder.Commit(ctx, c)
}

func TestASecondPodGoesOnWithTheRecord(t *testing.T) {
	writers := memory(t)
	used, err := priorUsageOf(v1alpha1.TaskProgress{})
	if err != nil {
		t.Fatal(err)
	}
	rep := newReporter(&api{}, recordedTask, "t-1", used)
	first, err := resume(t.Context(), writers(1), rep, transcript.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(first.past) > 0 || first.latest != nil {
		t.Fatalf("a new record has %+v", first)
	}
	cost := decimal.RequireFromString("0.5")
	for i, d := range []transcript.Data{
		&transcript.RunStarted{Task: "t", SystemPrompt: "s", Prompt: "p"},
		&transcript.Response{Model: "m", Message: llm.Message{Role: llm.RoleAssistant, Content: "x"}, Kept: true, Usage: llm.Usage{InputTokens: 7}, CostUSD: cost},
	} {
		if _, err := first.writer.Append(i, d); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.writer.Sync(); err != nil {
		t.Fatal(err)
	}
	// The status has what the record has, and what an attempt before that used.
	used.turns, used.input, used.cost = 3, 10, cost.Add(cost)
	rep = newReporter(&api{}, recordedTask, "t-2", used)
	second, err := resume(t.Context(), writers(2), rep, transcript.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(second.past) != 2 || second.standing.Progress.Turns != 1 {
		t.Errorf("the second pod finds %d events and %d turns", len(second.past), second.standing.Progress.Turns)
	}
	status := rep.current()
	if *status.Progress.Turns != 3 || *status.Progress.Usage.InputTokens != 10 || status.Progress.Usage.CostUSD != "1" {
		t.Errorf("what was used is counted as %d turns, %d tokens, %s USD", *status.Progress.Turns, *status.Progress.Usage.InputTokens, status.Progress.Usage.CostUSD)
	}
	want := "/apis/subresources.sampan.dev/v1alpha1/namespaces/ns/agenttasks/t/transcript"
	if status.Transcript.URI != want || *status.Transcript.Events != 2 {
		t.Errorf("status.transcript is %+v", status.Transcript)
	}
	// The first pod is still there, somewhere.
	if _, err := first.writer.Append(1, &transcript.Notice{Text: "late"}); err != nil {
		t.Fatal(err)
	}
	if err := first.writer.Sync(); err == nil {
		if _, err := second.writer.Append(1, &transcript.RunResumed{}); err != nil {
			t.Fatal(err)
		}
		if err := second.writer.Sync(); !errors.Is(err, record.ErrFenced) {
			t.Error("both pods write to the record")
		}
	}
}

func TestFencing(t *testing.T) {
	writers := memory(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	rec := fencing{writers(1), cancel}
	if _, err := rec.Latest(t.Context()); !errors.Is(err, record.ErrNotFound) || ctx.Err() != nil {
		t.Fatalf("Latest = %v, and the run's context %v", err, ctx.Err())
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
	if !errors.Is(context.Cause(ctx), errFenced) {
		t.Errorf("the run of a pod that lost its task ends by %v", context.Cause(ctx))
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

func testKeeper(t *testing.T, rec record.Recorder, maxBytes int64) (k *keeper, dir string, told *[]string) {
	t.Helper()
	dir, told = t.TempDir(), &[]string{}
	return &keeper{
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
	sum := w.Summary()
	return harness.TranscriptSummary{Events: sum.Events, Bytes: sum.Bytes, Digest: sum.Digest}
}

func TestKeeper(t *testing.T) {
	rec := memory(t)(1)
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
	k.finish(t.Context(), harness.Progress{Turns: 1, Transcript: log}) // it is there already
	write("b", 10)
	k.finish(t.Context(), harness.Progress{Turns: 2, Transcript: log})
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
	rec := memory(t)(1)
	k, _, told := testKeeper(t, &forgetful{Recorder: rec, lost: 2}, 100)
	k.finish(t.Context(), harness.Progress{Transcript: begun(t, rec)})
	if len(*told) != 1 || !strings.HasPrefix((*told)[0], "The state at the stop was not kept: ") {
		t.Errorf("told %q", *told)
	}
}

func TestGraceful(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent, cancel := context.WithCancel(t.Context())
		ctx, stop := graceful(parent, time.Second)
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
