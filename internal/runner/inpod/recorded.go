package inpod

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/podapi"
	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/record/client"
	"github.com/sampan-dev/sampan/internal/runner/snapshot"
	"github.com/sampan-dev/sampan/internal/text"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// recordGrace is how long a run that was told to stop may take to record its end.
const recordGrace = 5 * time.Second

// journal is a run's transcript, and what an earlier pod has left of the run.
type journal struct {
	// ctx ends a little after the run was told to stop.
	ctx    context.Context
	writer *transcript.Writer
	// rec is nil where the cluster has no record.
	rec record.Recorder
	// past are the events so far, and standing is how far they come.
	past     []transcript.Event
	standing harness.Standing
	// latest is the checkpoint to go on from, nil without one.
	latest *record.Checkpoint
}

// openJournal begins the transcript of an attempt: a new one, or the one in the record.
func (p *Runner) openJournal(ctx context.Context, at *v1alpha1.AgentTask, rep *reporter, cancel context.CancelCauseFunc, opts transcript.Options) (*journal, error) {
	opts.Tee = &p.log
	url := os.Getenv(podapi.EnvRecordURL)
	if url == "" {
		w, err := transcript.Create(p.transcriptPath(at), opts)
		return &journal{ctx: ctx, writer: w}, err
	}
	ca, err := os.ReadFile(filepath.Join(podapi.InputDir, podapi.RecordCAFile))
	if err != nil {
		return nil, fmt.Errorf("reading who signs the certificate of the record: %w", err)
	}
	c, err := client.New(client.Config{
		URL: url, CA: ca, TokenFile: filepath.Join(podapi.InputDir, podapi.RecordTokenFile),
		Namespace: at.Namespace, Task: at.Name, UID: string(at.UID),
		OnWait: func(err error) { rep.waiting("waiting for the record: " + err.Error()) }, OnGoOn: func() { rep.waiting("") },
	})
	if err != nil {
		return nil, err
	}
	return resume(ctx, fencing{c, cancel}, rep, opts)
}

// resume opens the transcript in a record.
func resume(ctx context.Context, rec record.Recorder, rep *reporter, opts transcript.Options) (*journal, error) {
	j := &journal{ctx: ctx, rec: rec}
	switch c, err := rec.Latest(ctx); {
	case err == nil:
		j.latest = &c
		rep.kept(c, text.Clip(leftOut(c), maxCheckpointMessage))
	case !errors.Is(err, record.ErrNotFound):
		return nil, fmt.Errorf("reading the last checkpoint: %w", err)
	}
	lines, err := rec.Log(ctx, 1)
	if err != nil {
		return nil, fmt.Errorf("reading the record: %w", err)
	}
	opts.Record = func(first int64, lines []byte) error {
		return rec.Append(ctx, first, lines)
	}
	j.writer, j.past, err = transcript.Continue(lines, opts)
	if err := errors.Join(err, lines.Close()); err != nil {
		return nil, err
	}
	if j.standing, err = harness.StandingOf(j.past); err != nil {
		return nil, fmt.Errorf("reading the record: %w", err)
	}
	p, sum := j.standing.Progress, j.writer.Summary()
	p.Transcript = harness.TranscriptSummary{Events: sum.Events, Bytes: sum.Bytes, Digest: sum.Digest}
	rep.resumed(p)
	return j, nil
}

// graceful ends some time after ctx does: what a run has to record at its end.
func graceful(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(grace, cancel)
		context.AfterFunc(out, func() { timer.Stop() })
	})
	return out, func() { stop(); cancel() }
}

// fencing ends the run when the record belongs to another pod.
type fencing struct {
	record.Recorder
	cancel context.CancelCauseFunc
}

func (f fencing) fence(err error) error {
	if errors.Is(err, record.ErrFenced) {
		f.cancel(errFenced)
	}
	return err
}

// Append implements record.Recorder.
func (f fencing) Append(ctx context.Context, first int64, lines []byte) error {
	return f.fence(f.Recorder.Append(ctx, first, lines))
}

// Latest implements record.Recorder.
func (f fencing) Latest(ctx context.Context) (record.Checkpoint, error) {
	c, err := f.Recorder.Latest(ctx)
	return c, f.fence(err)
}

// Commit implements record.Recorder.
func (f fencing) Commit(ctx context.Context, c record.Checkpoint) error {
	return f.fence(f.Recorder.Commit(ctx, c))
}

// PutOutput implements record.Recorder.
func (f fencing) PutOutput(ctx context.Context, o record.Output) error {
	return f.fence(f.Recorder.PutOutput(ctx, o))
}

// restore builds the workspace of the last checkpoint where this pod has none yet. It
// gives what takes the next ones; nil where no checkpoints are taken: the workspace
// outlives the pod by itself, or belongs to more than one task.
func (p *Runner) restore(ctx context.Context, sb *v1alpha1.Sandbox, j *journal, rep *reporter) (*keeper, *harness.Restored, error) {
	var restored *harness.Restored
	if len(j.past) > 0 && !p.prepared && !podapi.Persistent(sb) {
		restored = &harness.Restored{Events: 1} // a new checkout
	}
	if j.rec == nil || podapi.Persistent(sb) || podapi.OwnerTask(sb) == nil {
		return nil, restored, nil
	}
	k := &keeper{ctx: j.ctx, rec: j.rec, base: func() string { return p.base }, snap: &snapshot.Snapshotter{Root: podapi.WorkspaceDir, MaxBytes: maxKeptBytes}, kept: rep.kept, newest: j.latest}
	if j.latest == nil {
		return k, restored, nil
	}
	if err := k.snap.Restore(ctx, j.rec, *j.latest); err != nil {
		return nil, nil, err
	}
	p.prepared, p.base = true, j.latest.Base
	return k, &harness.Restored{Turn: j.latest.Turn, Events: j.latest.Events}, nil
}
