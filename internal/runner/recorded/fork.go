package recorded

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/sampan-dev/sampan/internal/harness"
	"github.com/sampan-dev/sampan/internal/record"
	"github.com/sampan-dev/sampan/internal/transcript"
)

// Origin is the record of another task, to go on from.
type Origin interface {
	// Checkpoint gives the checkpoint of a turn, or the last one for record.Last;
	// record.ErrNotFound says which there are.
	Checkpoint(ctx context.Context, turn int) (record.Checkpoint, error)
	// Log gives the lines of the transcript from an event on.
	Log(ctx context.Context, from int64) (io.ReadCloser, error)
}

// Stored is the record of a task in a store that is at hand.
type Stored struct {
	Store *record.Store
	Task  record.Task
}

// Checkpoint implements Origin.
func (s Stored) Checkpoint(ctx context.Context, turn int) (record.Checkpoint, error) {
	return s.Store.Hold(ctx, s.Task, turn)
}

// Log implements Origin.
func (s Stored) Log(ctx context.Context, from int64) (io.ReadCloser, error) {
	return s.Store.Log(ctx, s.Task, from)
}

// Recorder is the record for one who writes it.
func (s Stored) Recorder(w record.Writer) record.Recorder {
	return written{s.Store.Recorder(s.Task, w), w}
}

// written says who writes.
type written struct {
	record.Recorder
	w record.Writer
}

// Commit implements record.Recorder.
func (r written) Commit(ctx context.Context, c record.Checkpoint) error {
	c.Writer = r.w
	return r.Recorder.Commit(ctx, c)
}

// PutOutput implements record.Recorder.
func (r written) PutOutput(ctx context.Context, o record.Output) error {
	o.Writer = r.w
	return r.Recorder.PutOutput(ctx, o)
}

// From has a run go on from another task, as long as it has no checkpoint of its own:
// from then on its own record has it all. A run that has begun goes on from the
// checkpoint that it has begun with. Task and UID are the other task's.
func (j *Journal) From(ctx context.Context, o Origin, task, uid string, turn int) error {
	began, err := originOf(j.Past)
	switch {
	case err != nil:
		return err
	case began != nil && (began.Task != task || turn != record.Last && turn != began.Turn):
		return fmt.Errorf("the run has begun with turn %d of the task %s", began.Turn, began.Task)
	case j.latest != nil || j.Standing.Ended:
		return nil
	case began != nil:
		turn = began.Turn
	}
	c, err := o.Checkpoint(ctx, turn)
	if err != nil {
		return fmt.Errorf("going on from the task %s: %w", task, err)
	}
	j.origin = &c
	if began != nil {
		if began.Events != c.Events || began.Digest != c.LogDigest {
			return fmt.Errorf("the checkpoint of turn %d of the task %s is another one than that which this run has begun with", turn, task)
		}
		return nil
	}
	events, err := eventsUpTo(ctx, o, c)
	if err != nil {
		return fmt.Errorf("reading the transcript of the task %s: %w", task, err)
	}
	j.fork, err = harness.ForkOf(transcript.Origin{Task: task, UID: uid, Turn: c.Turn, Events: c.Events, Digest: c.LogDigest}, events)
	return err
}

// originOf is what a run has begun with; nil where it has not begun.
func originOf(past []transcript.Event) (*transcript.Origin, error) {
	if len(past) == 0 {
		return nil, nil
	}
	data, err := past[0].Decode()
	if err != nil {
		return nil, err
	}
	if e, ok := data.(*transcript.RunStarted); ok && e.From != nil {
		return e.From, nil
	}
	return nil, errors.New("the run has begun, and not with the state of another task")
}

// eventsUpTo are those that led to a checkpoint.
func eventsUpTo(ctx context.Context, o Origin, c record.Checkpoint) (events []transcript.Event, err error) {
	log, err := o.Log(ctx, 1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	in := transcript.NewReader(log)
	for n := int64(0); n < c.Events; n++ {
		e, err := in.Next()
		if err != nil {
			return nil, fmt.Errorf("it has %d events that can be read, and the checkpoint of turn %d is of event %d: %w", n, c.Turn, c.Events, err)
		}
		events = append(events, e)
	}
	if got := in.Summary().Digest; got != c.LogDigest {
		return nil, fmt.Errorf("up to event %d it has the digest %s, and the checkpoint of turn %d says %s", c.Events, got, c.Turn, c.LogDigest)
	}
	return events, nil
}
