// Package recorded is a run whose record outlives its process: it opens the transcript
// that an earlier process has left, restores the workspace of the last checkpoint,
// and keeps both while the run goes on.
package recorded

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// Grace is how long a run that was told to stop may take to record its end.
const Grace = 5 * time.Second

// Listener is told of the record of a run.
type Listener struct {
	// Resumed is called with how far the run has come.
	Resumed func(harness.Progress)
	// Kept is called with the newest checkpoint, and what is to be said of it.
	Kept func(record.Checkpoint, string)
}

// Journal is a run's transcript, and what an earlier process has left of the run.
type Journal struct {
	Writer *transcript.Writer
	// Past is what the record has of the run so far, and Standing how far that comes.
	Past     *harness.Past
	Standing harness.Standing

	// ctx ends a little after the run was told to stop.
	ctx context.Context
	// rec is nil where there is no record.
	rec record.Recorder
	// latest is the checkpoint to go on from, nil without one.
	latest *record.Checkpoint
	kept   func(record.Checkpoint, string)
	// origin is the checkpoint of another task to begin with, and fork what else it is
	// begun with; both are nil without one, and fork where it has begun.
	origin *record.Checkpoint
	fork   *harness.Fork
}

// Create begins a transcript in a file, where there is no record.
func Create(path string, opts transcript.Options) (*Journal, error) {
	w, err := transcript.Create(path, opts)
	return &Journal{Writer: w}, err
}

// Resume opens the transcript in a record. The journal is of use until ctx ends, see
// Graceful.
func Resume(ctx context.Context, rec record.Recorder, l Listener, opts transcript.Options) (*Journal, error) {
	j := &Journal{ctx: ctx, rec: rec, kept: l.Kept}
	switch c, err := rec.Latest(ctx); {
	case err == nil:
		j.latest = &c
		l.Kept(c, leftOut(c))
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
	j.Past = &harness.Past{}
	j.Writer, err = transcript.Continue(lines, opts, j.Past.Add)
	if err := errors.Join(err, lines.Close()); err != nil {
		return nil, err
	}
	if j.Standing, err = j.Past.Standing(); err != nil {
		return nil, fmt.Errorf("reading the record: %w", err)
	}
	p := j.Standing.Progress
	p.Transcript = harness.TranscriptSummary(j.Writer.Summary())
	l.Resumed(p)
	return j, nil
}

// Anew says what the workspace of a run is that goes on in a new one; nil where it begins.
func (j *Journal) Anew() *harness.Restored {
	if j.Past.Events() == 0 {
		return nil
	}
	return &harness.Restored{Events: 1}
}

// Begins tells that the workspace of another task is to be restored for the run.
func (j *Journal) Begins() bool { return j.latest == nil && j.origin != nil }

// Restores tells that there is a checkpoint whose workspace is to be restored for the run.
func (j *Journal) Restores() bool { return j.begin() != nil }

// Recorder is the record, nil where there is none.
func (j *Journal) Recorder() record.Recorder { return j.rec }

// Base is the commit that the restored workspace began as; empty without one.
func (j *Journal) Base() string {
	c := j.begin()
	if c == nil {
		return ""
	}
	return c.Base
}

// begin is the checkpoint whose workspace is restored; nil without one.
func (j *Journal) begin() *record.Checkpoint {
	if j.latest != nil {
		return j.latest
	}
	return j.origin
}

// Told tells that this process only brings the news of a run that had ended in another.
func (j *Journal) Told(res harness.Result) bool {
	return j.Past.Events() > 0 && res.Transcript.Events == j.Past.Events()
}

// EndedElsewhere tells that this process only brings the news of a run that had ended in
// another workspace than this process has: that of an earlier checkpoint, or a new one.
func (j *Journal) EndedElsewhere(res harness.Result, restored *harness.Restored) bool {
	return restored != nil && j.Told(res) && (j.latest == nil || restored.Turn != res.Progress.Turns)
}

// Restore builds the workspace and the home of the last checkpoint, or of the one of
// another task that the run begins with, in folders that are empty, and gives what takes
// the next ones, with the commit that was checked out. Without a checkpoint it builds
// nothing, and without a record none will be taken. After an error nothing is to run in
// the folders: one of them may have been built.
func (j *Journal) Restore(ctx context.Context, in Folders, base func() string) (*Keeper, *harness.Restored, error) {
	k, c := j.Keeper(in, base), j.begin()
	if k == nil || c == nil {
		return k, nil, nil
	}
	home, err := k.restoreHome(ctx, *c)
	if err != nil {
		return nil, nil, err
	}
	if err := k.snap.Restore(ctx, j.rec, *c); err != nil {
		return nil, nil, err
	}
	if c == j.origin { // no tool has run since
		return k, &harness.Restored{Events: 1, Home: home}, nil
	}
	return k, &harness.Restored{Turn: c.Turn, Events: c.Events, Home: home}, nil
}

// Keeper takes checkpoints of folders as they are, with the commit that was checked out;
// nil without a record.
func (j *Journal) Keeper(of Folders, base func() string) *Keeper {
	if j.rec == nil {
		return nil
	}
	return &Keeper{ctx: j.ctx, rec: j.rec, base: base, snap: of.workspace(), home: of.home(), kept: j.kept, newest: j.latest}
}

// Run runs the harness with the journal as its transcript and past, and with the
// keeper, which may be nil, as its checkpoints. A run that was stopped has a last one
// taken, and one whose end is to be kept by the word of keepEnd, which may be nil.
func (j *Journal) Run(ctx context.Context, k *Keeper, config harness.Config, keepEnd func(harness.Result) bool) harness.Result {
	config.Transcript, config.Resume, config.Fork = j.Writer, j.Past, j.fork
	config.Unkept = j.latest == nil
	if k != nil {
		config.Checkpoints = k
	}
	res := harness.Run(ctx, config)
	if res.Reason == harness.Internal {
		if err := j.unrecorded(); err != nil {
			return stopped(ctx, res, err)
		}
	}
	if k != nil && (res.Reason == harness.Cancelled || keepEnd != nil && keepEnd(res)) && j.unrecorded() == nil {
		k.finish(res.Progress) //nolint:contextcheck // it ends a little after ctx, as all that is recorded
	}
	return res
}

// unrecorded is why the record does not take what the run does any more.
func (j *Journal) unrecorded() error {
	if j.rec == nil {
		return nil
	}
	return j.Writer.Sync()
}

// stopped is the result of a run that could not be recorded to its end: what is recorded
// another attempt goes on from.
func stopped(ctx context.Context, res harness.Result, err error) harness.Result {
	out := harness.Result{Reason: harness.Cancelled, Message: "The run was interrupted: " + err.Error() + "."}
	if ctx.Err() != nil {
		out = harness.Stopped(ctx)
	}
	out.Progress, out.Transcript = res.Progress, res.Progress.Transcript
	return out
}
